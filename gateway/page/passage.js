// The passage behind a citation, its span marked. The dialog is the browser's own: Escape closes it, the focus stays in
// it and goes back to where it came from.

import { byId, make } from "./elements.js";
import { words } from "./words.js";

/** Offsets count characters, while a JavaScript string counts UTF-16 units: an emoji before the span would shift it. */
function parts(citation) {
  const characters = Array.from(citation.passage.text);
  const [from, to] = [citation.start, citation.end].map((place) => place - citation.passage.start);
  return [characters.slice(0, from), characters.slice(from, to), characters.slice(to)].map((part) => part.join(""));
}

export function openPassage(citation) {
  const { title, section, document: source } = citation;
  byId("passage-title").textContent = `[${citation.number}] ${section ? `${title} § ${section}` : title}`;
  byId("passage-where").textContent = words.passageOf(source);
  const [before, marked, after] = citation.passage ? parts(citation) : ["", citation.quote, ""];
  const mark = make("mark", {}, marked);
  byId("passage-text").replaceChildren(before, mark, after);
  byId("passage").showModal();
  byId("passage-title").focus();
  mark.scrollIntoView({ block: "center" });
}

byId("passage").addEventListener("click", (event) => {
  const isBackdrop = event.target === event.currentTarget;
  if (isBackdrop || event.target.closest(".close")) event.currentTarget.close();
});
