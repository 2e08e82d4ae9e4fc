// Take in a file that was chosen or dropped, and give one to be saved. Nothing here is sent.

/** Call `take(file)` for a file that is chosen with `picker` or dropped anywhere on the page. */
export function watchFiles(picker, take) {
  picker.addEventListener("change", () => {
    if (picker.files.length) take(picker.files[0]);
    picker.value = ""; // the same file may be chosen again after a refusal
  });
  // On the whole window: a browser opens a file that is dropped beside the target, and the page would be lost.
  window.addEventListener("dragover", (event) => event.preventDefault());
  window.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
  });
}

/** Have the browser save `text` as `name`. */
export function saveFile(name, text) {
  const link = document.createElement("a");
  // Not text/plain: some browsers add .txt to the name, and the apps then do not know the file.
  link.href = URL.createObjectURL(new Blob([text], { type: "application/octet-stream" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}
