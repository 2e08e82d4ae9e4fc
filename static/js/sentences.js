// The sentences that a page may have to say. They come with the page, in its language: `<template data-sentence="…">`.

/** Return the sentence called `name`, with its `{gaps}` filled from `values`. */
export function sentence(name, values = {}) {
  const template = document.querySelector(`template[data-sentence="${name}"]`);
  const text = template.content.textContent.trim();
  return text.replace(/\{(\w+)\}/g, (gap, key) => values[key] ?? gap);
}
