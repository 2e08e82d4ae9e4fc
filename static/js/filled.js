// Put a private key where the server's text leaves room for one: the server never sees it.

const PLACEHOLDER = "REPLACE_WITH_YOUR_PRIVATE_KEY";

export const filled = (text, privateKey) => text.replace(PLACEHOLDER, privateKey);
