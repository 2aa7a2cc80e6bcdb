// One line that says what the page waits for, and what went wrong.

export function say(text) {
  const line = document.getElementById("status");
  if (line.textContent !== text) line.textContent = text;
}
