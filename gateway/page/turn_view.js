// One turn on the page: question, six marks, reasoning folded away, answer, and what may be done with it.

import { AnswerText } from "./answer.js";
import { button, drawing, isPage, make } from "./elements.js";
import { openPassage } from "./passage.js";
import { STEPS, flows } from "./turn.js";
import { reason, words } from "./words.js";

const THUMB = "M7 11l4-8c1.5 0 2.5 1 2.5 2.5V9h5a2 2 0 0 1 2 2.3l-1.1 7a2 2 0 0 1-2 1.7H7zM3 11h4v9H3z";
const COPIED_FOR = 2_000;

const seconds = (milliseconds) => Math.max(1, Math.round(milliseconds / 1000));

/** What is under way, in a few words. */
export function doing(turn) {
  if (turn.stopping) return words.stopping;
  if (!turn.step || turn.state === "queued") return turn.state === "sending" ? words.sending : words.queued;
  const step = words[turn.step] ?? turn.step;
  if (turn.step === "generate_answer" && turn.try > 1) return words.trying(step, turn.try);
  return turn.attempt > 1 ? words.again(step) : step;
}

/** Verdicts that are told in words of their own. */
const TOLD = ["mask", "cancelled", "failed", "block"];
const WAYS_OUT = {
  403: "doKey", 404: "doGone", 409: "doClosed", 413: "doLong", 422: "doWrong", 429: "doBusy", 503: "doAway",
};

/** What to do about an error. */
const wayOut = (status) => words[WAYS_OUT[status] ?? "doAgain"];

export class TurnView {
  /** `actions`: `again(turn)`, `feedback(turn, score, comment)`; `isOperator()` says whether a trace link is shown. */
  constructor(turn, actions) {
    Object.assign(this, { turn, actions });
    const marks = STEPS.map((step) => make("i", { title: words[step] }));
    this.marks = make("span", { class: "marks", "aria-hidden": "true" }, ...marks);
    this.doing = make("span", { class: "doing" });
    this.progress = make("p", { class: "progress small" }, this.marks, this.doing);
    this.thought = make("summary");
    this.reasoning = make("div", { class: "reasoning" });
    this.thinking = make("details", { class: "thinking", hidden: true }, this.thought, this.reasoning);
    this.notice = make("p", { class: "notice", hidden: true });
    this.answer = make("div", { class: "answer" });
    this.sources = make("ol", { class: "sources small", "aria-label": words.sources });
    this.after = make("div", { class: "after small", hidden: true });
    this.text = new AnswerText(this.answer, (number) => this.open(number), (number) => this.nameOf(number));
    this.thoughts = new AnswerText(this.reasoning);
    const you = make("span", { class: "unseen" }, `${words.you}: `);
    const question = make("h2", { class: "question" }, you, turn.question);
    const brought = make("ul", { class: "chips small", "aria-label": words.files, hidden: !this.files.length },
      ...this.files.map(({ name }) => make("li", {}, name)));
    const parts = [brought, this.progress, this.thinking, this.notice, this.answer, this.sources, this.after];
    this.element = make("article", {}, question, ...parts);
    this.update();
  }

  get files() {
    return this.turn.files ?? [];
  }

  // citations ------------------------------------------------------------------------------------

  cited(number) {
    return this.turn.citations.find((one) => one.number === number);
  }

  nameOf(number) {
    return words.openSource(number, this.cited(number).title);
  }

  open(number) {
    openPassage(this.cited(number));
  }

  // showing --------------------------------------------------------------------------------------

  update() {
    const { turn } = this;
    this.showProgress();
    this.showThinking();
    this.showNotice();
    this.text.show(turn.answer, new Set(turn.citations.map((one) => one.number)));
    if (turn.language) this.answer.lang = turn.language;
    this.element.setAttribute("aria-busy", String(flows(turn)));
    this.showSources();
    if (flows(turn)) this.after.hidden = true;
    else if (this.after.hidden) this.showAfter();
  }

  showProgress() {
    const { turn } = this;
    const isFlowing = flows(turn);
    [...this.marks.children].forEach((mark, place) => {
      const isNow = isFlowing && turn.step === STEPS[place];
      mark.className = isNow ? "now" : turn.steps.includes(STEPS[place]) ? "done" : "";
    });
    this.progress.hidden = !isFlowing && !turn.took;
    this.doing.textContent = isFlowing ? doing(turn) : turn.took && !turn.error ? words.took(seconds(turn.took)) : "";
  }

  showThinking() {
    const { turn } = this;
    this.thinking.hidden = !turn.reasoning;
    this.thoughts.show(turn.reasoning, new Set());
    const isThinking = flows(turn) && turn.thought === null;
    const known = turn.thought === null ? words.reasoning : words.thought(seconds(turn.thought));
    this.thought.textContent = isThinking ? words.thinking : known;
  }

  showNotice() {
    const lines = this.notices();
    this.notice.hidden = !lines.length;
    this.notice.classList.toggle("bad", Boolean(this.turn.error));
    this.notice.replaceChildren(...lines.flatMap((line, place) => (place ? [make("br"), line] : [line])));
  }

  /** What became of the answer, where it is not simply the answer. */
  notices() {
    const { turn } = this;
    const lines = [];
    const isLast = turn.withdrawn === turn.verdict; // not an earlier try: the turn ended with it
    if (turn.withdrawn !== null && !(isLast && TOLD.includes(turn.verdict))) {
      const { withdrawn, withdrawnFor, wasWithdrawn } = words;
      const say = flows(turn) && !turn.answer ? withdrawn : turn.answer && !isLast ? wasWithdrawn : withdrawnFor;
      lines.push(say(reason(turn.withdrawn)));
    }
    if (turn.error) {
      const what = turn.error.detail || turn.error.title;
      lines.push(`${words.notAnswered}${what ? `: ${what}` : "."}`, wayOut(turn.error.status));
    } else if (turn.state === "waiting") {
      lines.push(words.waiting);
    } else if (TOLD.includes(turn.verdict)) {
      lines.push(words[turn.verdict]);
    }
    return lines;
  }

  showSources() {
    const { citations } = this.turn;
    this.sources.hidden = !citations.length;
    const key = JSON.stringify(citations.map((one) => [one.number, one.title, one.section]));
    if (key === this.sourcesKey) return; // a button that has the focus keeps it
    this.sourcesKey = key;
    const inOrder = [...citations].sort((one, other) => one.number - other.number);
    this.sources.replaceChildren(...inOrder.map(({ number, title, section }) => {
      const text = `[${number}] ${section ? `${title} § ${section}` : title}`;
      return make("li", {}, button(text, () => this.open(number), { class: "plain" }));
    }));
  }

  // afterwards -----------------------------------------------------------------------------------

  showAfter() {
    const { turn, actions } = this;
    const mayAskAgain = this.files.every(({ text }) => text !== undefined); // else it would be another question
    const mayRate = turn.turn !== null && turn.state === "done";
    this.after.hidden = false;
    this.after.replaceChildren(
      ...(turn.answer ? [button(words.copy, (event) => this.copy(event.currentTarget), { class: "plain" })] : []),
      ...(mayAskAgain ? [button(words.retry, () => actions.again(turn), { class: "plain" })] : []),
      ...(mayRate ? [this.thumb(1), this.thumb(-1)] : []),
      ...(actions.isOperator() && turn.trace && isPage(turn.trace) ? [this.traceLink()] : []),
    );
  }

  traceLink() {
    return make("a", { href: this.turn.trace, target: "_blank", rel: "noopener noreferrer" }, words.trace);
  }

  async copy(pressed) {
    const isCopied = await copyText(this.turn.answer);
    pressed.textContent = isCopied ? words.copied : words.notSaved;
    setTimeout(() => (pressed.textContent = words.copy), COPIED_FOR);
  }

  thumb(score) {
    const name = score > 0 ? words.good : words.poor;
    const rate = () => this.rate(score);
    const pressed = String(this.turn.score === score);
    const made = button("", rate, { class: "plain thumb", "aria-label": name, title: name, "aria-pressed": pressed });
    made.append(drawing(THUMB, score > 0 ? "up" : "down"));
    made.dataset.score = score;
    return made;
  }

  async rate(score) {
    if (!(await this.give(score, ""))) return;
    this.turn.score = score;
    for (const thumb of this.after.querySelectorAll(".thumb")) {
      thumb.setAttribute("aria-pressed", String(Number(thumb.dataset.score) === score));
    }
    this.line().replaceChildren(this.commentForm(score));
  }

  /** The row below the buttons: the optional line, or what became of it. */
  line() {
    this.below ??= make("div", { class: "below", role: "status" });
    if (!this.below.isConnected) this.after.append(this.below);
    return this.below;
  }

  commentForm(score) {
    const name = { "aria-label": words.comment, placeholder: words.comment };
    const text = make("input", { type: "text", maxlength: "2000", ...name });
    const submit = async (event) => {
      event.preventDefault();
      if (text.value.trim() && !(await this.give(score, text.value.trim()))) return;
      this.line().replaceChildren(words.thanks);
      this.after.querySelector(`[data-score="${score}"]`).focus();
    };
    return make("form", { submit }, text, make("button", { type: "submit" }, words.commentSend));
  }

  async give(score, comment) {
    try {
      await this.actions.feedback(this.turn, score, comment);
      return true;
    } catch {
      this.line().append(make("span", { class: "bad" }, words.notSaved));
      return false;
    }
  }
}

/** The clipboard is only there on https and on this machine itself; the older way works everywhere. */
async function copyText(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const hidden = make("textarea", { class: "unseen", readonly: true });
    hidden.value = text;
    const focused = document.activeElement;
    document.body.append(hidden);
    hidden.select();
    const isCopied = document.execCommand("copy");
    hidden.remove();
    focused?.focus();
    return isCopied;
  }
}
