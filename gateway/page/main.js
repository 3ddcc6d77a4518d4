// Puts the page together: who is here, the composer, the turns, the two dialogs, the two languages.

import * as api from "./api.js";
import { Attachments } from "./attachments.js";
import { Conversation } from "./conversation.js";
import { byId, isPage, make } from "./elements.js";
import { Reviews } from "./reviews.js";
import { TurnView, doing } from "./turn_view.js";
import { flows } from "./turn.js";
import { label, switchLanguage, words } from "./words.js";

/** Steps that a screen reader is told of; six announcements a question would be noise. */
const SPOKEN = ["retrieve_knowledge", "generate_answer"];
/** So near to its end the page follows the answer as it grows. */
const NEAR = 120;

const text = byId("text");
const turns = byId("turns");
const views = new Map();
const address = new URL(location.href);
const tenantAsked = address.searchParams.get("tenant");
const conversationAsked = address.searchParams.get("conversation");
if (conversationAsked) {
  // Opened once: afterwards the tab itself knows where it is, and "new" begins another one.
  address.searchParams.delete("conversation");
  history.replaceState(null, "", address);
}
let scopes = [];

const conversation = new Conversation(conversationAsked, {
  changed,
  reset: showAll,
  lost: showLost,
  refused: showRefused,
  locked: askForKey,
});
const attachments = new Attachments((said) => (byId("said").textContent = said), showTrouble);
const reviews = new Reviews(byId("reviews"), byId("reviewing"), conversation);
const actions = {
  again: (turn) => say(turn.question, turn.files),
  feedback: (turn, score, comment) => conversation.feedback(turn, score, comment),
  isOperator: () => scopes.includes("operate"),
};

// the turns ----------------------------------------------------------------------------------------

function changed(turn, event) {
  const page = document.scrollingElement;
  const isNear = page.scrollHeight - page.scrollTop - page.clientHeight < NEAR;
  if (!views.has(turn)) addView(turn);
  else views.get(turn).update();
  showComposer();
  if (isNear || event === null) page.scrollTop = page.scrollHeight;
  if (event) announce(turn, event);
}

function addView(turn) {
  const view = new TurnView(turn, actions);
  views.set(turn, view);
  turns.append(view.element);
  byId("greeting").hidden = true;
}

function showAll() {
  views.clear();
  turns.replaceChildren();
  if (conversation.older) turns.append(make("p", { class: "small" }, words.older(conversation.older)));
  conversation.turns.forEach(addView);
  byId("greeting").hidden = conversation.turns.length > 0;
  showComposer();
}

function announce(turn, event) {
  const isStep = event.type === "step" && SPOKEN.includes(event.step);
  if (isStep) byId("said").textContent = doing(turn);
  if (event.type === "retract" || event.type === "error") byId("said").textContent = views.get(turn).notice.textContent;
  if (event.type === "final") {
    byId("said").textContent = `${words.answerReady} ${views.get(turn).notices().join(" ")} ${turn.answer}`;
  }
}

// the composer -------------------------------------------------------------------------------------

function showComposer() {
  const flowing = conversation.flowing;
  const hadFocus = document.activeElement === byId("stop");
  byId("stop").hidden = !flowing;
  byId("stop").setAttribute("aria-disabled", String(Boolean(flowing?.stopping))); // disabled, it would lose the focus
  byId("send").hidden = Boolean(flowing);
  if (hadFocus && !flowing) text.focus();
}

function say(said, files) {
  if (conversation.flowing) return;
  reviews.hide();
  showTrouble("");
  conversation.say(said, files);
}

byId("composer").addEventListener("submit", async (event) => {
  event.preventDefault();
  await attachments.reading;
  if (text.value.trim() && !conversation.flowing) {
    const said = text.value;
    text.value = "";
    say(said, attachments.handOver());
  } else if (attachments.files.length && !conversation.flowing) {
    showTrouble(words.askSomething);
  }
  text.focus();
});

text.addEventListener("keydown", (event) => {
  // While an input method composes, Enter takes its suggestion; some browsers tell that by the key code alone.
  const isComposing = event.isComposing || event.keyCode === 229;
  if (event.key !== "Enter" || event.shiftKey || isComposing) return;
  event.preventDefault();
  byId("composer").requestSubmit();
});

text.addEventListener("input", () => conversation.socket.open(), { once: true });
byId("stop").addEventListener("click", () => conversation.stop());
byId("fresh").addEventListener("click", () => {
  reviews.hide();
  conversation.begin();
  text.focus();
});

// trouble ------------------------------------------------------------------------------------------

function showTrouble(what) {
  byId("trouble").textContent = what;
}

function showLost(isLost) {
  showTrouble(isLost ? words.lost : "");
}

function showRefused({ title, detail }) {
  showTrouble(detail || title);
}

// the key ------------------------------------------------------------------------------------------

function askForKey() {
  if (!byId("key").open) byId("key").showModal();
}

byId("key").querySelector("form").addEventListener("submit", async (event) => {
  event.preventDefault();
  api.key.set(byId("key-text").value.trim());
  byId("key-wrong").textContent = "";
  if (!(await enter())) {
    byId("key-wrong").textContent = words.keyWrong;
    byId("key-text").select();
    return;
  }
  byId("key-text").value = "";
  byId("key").close();
  text.focus();
});

byId("other-key").addEventListener("click", () => {
  conversation.socket.close();
  askForKey();
});

// who is here --------------------------------------------------------------------------------------

/** Learns who is here and what they may; false where a key is needed. A gateway that cannot tell leaves it open. */
async function enter() {
  let who = {};
  try {
    who = await api.whoami();
  } catch (problem) {
    if (problem.status === 401) {
      api.key.forget();
      return false;
    }
  }
  scopes = who.scopes ?? [];
  conversation.tenant = who.tenant ?? tenantAsked;
  conversation.user = who.user ?? null;
  byId("other-key").hidden = !api.key.get();
  showWebUi(actions.isOperator() ? who.web_ui : null);
  reviews.allow(scopes.includes("review"));
  attachments.allow(who.max_files, who.max_characters?.[conversation.tenant ?? "default"]);
  showAll();
  await conversation.resume();
  return true;
}

function showWebUi(address) {
  const link = byId("web-ui");
  link.hidden = !address || !isPage(address);
  if (!link.hidden) link.href = address;
}

function showWords() {
  label();
  byId("language").textContent = words.other;
  byId("language").lang = words.other === "English" ? "en" : "zh-CN";
  text.placeholder = words.message;
  reviews.show();
  attachments.show();
  showAll();
}

byId("language").addEventListener("click", () => {
  switchLanguage();
  showWords();
});

showWords();
if (!(await enter())) askForKey();
