// The texts that go with the next message: chosen, read, shown as chips that can be removed. The gateway judges each of
// them again; what is looked at here only spares a way in vain.

import { button, byId, drawing, make } from "./elements.js";
import { words } from "./words.js";

const CLIP = "M20 11.5l-8.2 8.2a5 5 0 0 1-7.1-7.1L13.4 4a3.4 3.4 0 0 1 4.8 4.8l-8.6 8.6a1.7 1.7 0 0 1-2.4-2.4l7.9-7.9";
/** Bytes of a character in UTF-8, at most: what has more of them is not even read. */
const WIDEST = 4;
const LONGEST_NAME = 128;

/** One line, as the gateway wants a name: no control or format characters, no spaces but the common one. */
const tidy = (name) => Array.from(name.replace(/[\p{C}\p{Z}]+/gu, " ").trim()).slice(0, LONGEST_NAME).join("");

const lengthOf = (text) => Array.from(text).length;

/** Its text without a byte order mark; `null` where it is none. */
async function textOf(file) {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(await file.arrayBuffer());
    return text.includes("\0") ? null : text;
  } catch {
    return null; // not UTF-8, or gone since it was chosen
  }
}

export class Attachments {
  /** `said(text)` is for who cannot see the chips, `refused(text)` says why a file is not taken. */
  constructor(said, refused) {
    Object.assign(this, { said, refused, files: [], reading: Promise.resolve() });
    this.input = byId("files");
    this.opener = byId("attach");
    this.opener.append(drawing(CLIP, "clip"));
    this.opener.addEventListener("click", () => this.input.click());
    this.input.addEventListener("change", () => {
      const chosen = [...this.input.files];
      this.input.value = ""; // the same file may be chosen again
      this.reading = this.reading.then(() => this.add(chosen));
    });
  }

  /** How many files, and how many characters together, the gateway takes; where it did not tell, there are none. */
  allow(most, characters) {
    Object.assign(this, { most, characters });
    this.opener.hidden = !most || !characters;
    this.show();
  }

  async add(chosen) {
    const before = this.files.length;
    const problems = [];
    for (const file of chosen) {
      const problem = await this.take(file);
      if (problem) problems.push(problem);
    }
    this.show();
    this.complain(problems.join(" "));
    const added = this.files.slice(before);
    if (added.length) this.said(words.attached(added.map(({ name }) => name).join(", ")));
  }

  /** Says it, or takes back what was said; what others said there is left alone. */
  complain(problems) {
    if (problems || this.complained) this.refused(problems);
    this.complained = Boolean(problems);
  }

  /** Why a file is not taken, where it is not. */
  async take(file) {
    const name = tidy(file.name) || words.file;
    if (this.files.length >= this.most) return words.tooManyFiles(name, this.most);
    if (file.size > WIDEST * this.characters) return words.tooLong(name, this.characters);
    const text = await textOf(file);
    if (text === null) return words.notText(name);
    if (!text) return words.emptyFile(name);
    const together = [...this.files.map((one) => one.text), text].reduce((sum, one) => sum + lengthOf(one), 0);
    if (together > this.characters) return words.tooLong(name, this.characters);
    this.files.push({ name, text });
    return null;
  }

  remove(file) {
    const place = this.files.indexOf(file);
    this.files.splice(place, 1);
    this.show();
    this.complain("");
    this.said(words.removed(file.name));
    const left = byId("attached").querySelectorAll("button");
    (left[Math.min(place, left.length - 1)] ?? this.opener).focus();
  }

  /** The files, for the message that is being sent. */
  handOver() {
    const { files } = this;
    this.files = [];
    this.show();
    return files;
  }

  show() {
    for (const name of ["aria-label", "title"]) this.opener.setAttribute(name, words.attach);
    byId("bounds").hidden = this.opener.hidden;
    byId("bounds").textContent = this.opener.hidden ? "" : words.bounds(this.most, this.characters);
    byId("attached").hidden = !this.files.length;
    byId("attached").setAttribute("aria-label", words.files);
    byId("attached").replaceChildren(...this.files.map((file) => this.chip(file)));
  }

  chip(file) {
    const name = words.remove(file.name);
    const remove = button("×", () => this.remove(file), { class: "plain", "aria-label": name, title: name });
    const length = make("span", { class: "small" }, words.length(lengthOf(file.text)));
    return make("li", {}, make("span", {}, file.name), length, remove);
  }
}
