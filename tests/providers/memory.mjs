// Where the provider keeps its sessions, grants and tokens: in memory, for as long as a test run lasts.

const kept = new Map() // 'Model:id' -> payload
const byUid = new Map() // uid of a session -> its id

export class Memory {
  constructor(model) {
    this.model = model
  }

  key(id) {
    return `${this.model}:${id}`
  }

  async upsert(id, payload) {
    kept.set(this.key(id), payload)
    if (payload.uid) byUid.set(payload.uid, id)
  }

  async find(id) {
    return kept.get(this.key(id))
  }

  async findByUid(uid) {
    return this.find(byUid.get(uid))
  }

  async consume(id) {
    kept.get(this.key(id)).consumed = Math.floor(Date.now() / 1000)
  }

  async destroy(id) {
    kept.delete(this.key(id))
  }

  async revokeByGrantId(grantId) {
    for (const [key, payload] of kept) {
      if (payload.grantId === grantId) kept.delete(key)
    }
  }
}
