// The reviewer's list: what waits for a person, what would be sent, and the three decisions.

import * as api from "./api.js";
import { button, make } from "./elements.js";
import { words } from "./words.js";

const LOOK_EVERY = 30_000;

const nameOf = ({ conversation, turn }) => `${conversation} ${turn}`;

export class Reviews {
  /** `element` holds the list, `opener` is the button that shows it in the place of the conversation. */
  constructor(element, opener, conversation) {
    Object.assign(this, { element, opener, conversation, waiting: [], decided: new Set(), failed: false });
    opener.addEventListener("click", () => (this.element.hidden ? this.open() : this.hide()));
  }

  /** Shows the way to the list to who may decide, and keeps its number up to date. */
  allow(isAllowed) {
    this.opener.hidden = !isAllowed;
    clearInterval(this.looking);
    if (!isAllowed) return;
    // While the list stands open it is not changed under the reader's hands.
    this.looking = setInterval(() => this.element.hidden && !document.hidden && this.look(), LOOK_EVERY);
    this.look();
  }

  open() {
    this.element.hidden = false;
    this.turnTo(false);
    this.look();
  }

  hide() {
    this.element.hidden = true;
    this.turnTo(true);
  }

  turnTo(isConversation) {
    document.getElementById("conversation").hidden = !isConversation;
    document.getElementById("foot").hidden = !isConversation;
    this.opener.setAttribute("aria-pressed", String(!isConversation));
    this.label();
  }

  label() {
    this.opener.textContent = this.element.hidden ? words.reviews(this.waiting.length) : words.backToChat;
  }

  async look() {
    const answered = await api.reviews(this.conversation.tenant).catch(() => null);
    const before = this.key();
    this.failed = answered === null;
    if (!this.failed) {
      const { reviews } = answered;
      this.waiting = reviews.filter((one) => !this.decided.has(nameOf(one))); // it was asked before one was decided
    }
    if (this.key() !== before) this.show(); // else what is being written in it stays
  }

  key() {
    return `${this.failed} ${this.waiting.map(nameOf)}`;
  }

  show() {
    this.label();
    const none = this.failed ? words.reviewsFailed : words.reviewsNone;
    this.element.replaceChildren(
      make("h2", {}, words.reviewsTitle),
      button(words.refresh, () => this.look(), { class: "plain small" }),
      ...(this.waiting.length ? [] : [make("p", { role: "status" }, none)]),
      ...this.waiting.map((one) => this.card(one)),
    );
  }

  card(one) {
    const draft = one.draft?.answer ?? "";
    const told = make("p", { role: "status", class: "small" });
    const card = make("article", { class: "review" });
    const edited = make("textarea", { rows: "5", "aria-label": words.yourAnswer });
    edited.value = draft;
    const note = make("input", { type: "text", maxlength: "2000", "aria-label": words.note, placeholder: words.note });
    const send = (decision) => this.decide(one, { decision, note: note.value, edited: edited.value }, card, told);
    const editing = make("div", { class: "editing", hidden: true }, edited,
      button(words.sendInstead, () => send("edit"), { class: "strong" }),
      button(words.keepDraft, () => showEditing(false)));
    const edit = button(words.edit, () => showEditing(true));
    const choices = make("div", { class: "choices" },
      ...(draft ? [button(words.approve, () => send("approve"), { class: "strong" })] : []),
      edit, button(words.reject, () => send("reject")));
    const showEditing = (isEditing) => {
      editing.hidden = !isEditing;
      choices.hidden = isEditing;
      (isEditing ? edited : edit).focus();
    };
    card.append(...this.facts(one, draft), note, choices, editing, told);
    return card;
  }

  facts({ conversation, turn, tenant, question, files = [], draft: found }, draft) {
    return [
      make("h3", {}, question),
      make("p", { class: "small" }, words.turnOf(turn, conversation, tenant)),
      ...(files.length ? [make("h4", {}, words.brought), ...files.map((file) => this.file(file))] : []),
      ...(found?.reason ? [make("h4", {}, words.found), make("p", {}, found.reason)] : []),
      make("h4", {}, words.draft),
      make("p", { class: draft ? "draft" : "small" }, draft || words.noDraft),
    ];
  }

  file({ name, text }) {
    const content = make("div", { class: "draft", tabindex: "0", role: "region", "aria-label": name }, text);
    return make("details", {}, make("summary", {}, name), content);
  }

  async decide({ conversation, turn, tenant }, { decision, note, edited }, card, told) {
    const by = this.conversation.user ?? "chat-page";
    const answer = decision === "edit" ? { answer: edited } : {};
    try {
      await api.decide(conversation, { turn, decision, note, by, tenant, ...answer });
    } catch (problem) {
      told.className = "small bad";
      told.textContent = problem.message || words.notSaved;
      return;
    }
    this.decided.add(nameOf({ conversation, turn }));
    this.waiting = this.waiting.filter((one) => !this.decided.has(nameOf(one)));
    this.label();
    card.querySelectorAll("button, textarea, input").forEach((control) => (control.disabled = true));
    told.textContent = words.decided[decision];
    told.tabIndex = -1;
    told.focus();
  }
}
