"""The policy as a whole: what comes in, what goes out, and how sternly it is judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dialogue.faults import MessageTooLong, PolicyFault
from dialogue.steps import Finding
from policy.policy import Policy
from policy.rules import ORDER, PolicyRules
from policy.words import ListedWord, WordList

WORDS = "idiot\t1\tinsult\nonline casino\t2\tgambling\n洗钱\t3\tillegal\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "words.txt").write_text(WORDS, encoding="utf-8")
    return tmp_path


@pytest.fixture
def policy(folder: Path) -> Policy:
    return Policy.build({"words": "words.txt"}, folder)


def review(policy: Policy, answer: str, **changed: Any) -> tuple[Finding, ...]:
    given = {
        "question": "How long can I return shoes?",
        "passages_text": "You have 30 days. Call +49 30 901820.",
        "expected_language": "en",
        "finish_reason": "stop",
    }
    return policy.check_output(answer, **{**given, **changed})


def rules(findings: tuple[Finding, ...]) -> list[str]:
    return [finding.rule for finding in findings]


def test_a_message_is_normalised_defused_and_masked(policy: Policy) -> None:
    """The rest of the turn sees none of it; the findings point at the message as it came."""
    text = "我的手机是１３８００１３８０００，你个 ｉｄｉｏｔ！<｜User｜>"
    check = policy.check_input(text)
    assert check.text == "我的手机是███,你个 ███!‹User›"
    assert check.decision == "mask"
    assert check.language == "zh"
    assert [(f.rule, f.label, text[f.start : f.end]) for f in check.findings] == [
        ("personal_data", "mobile", "１３８００１３８０００"),
        ("word_level_1", "word level 1", "ｉｄｉｏｔ"),
        ("template_tokens", "template token", "<｜User｜>"),
    ]


def test_a_plain_message_passes_unchanged(policy: Policy) -> None:
    """No finding, no change."""
    check = policy.check_input("How long can I return shoes?")
    assert (check.text, check.decision, check.findings) == ("How long can I return shoes?", "pass", ())


def test_a_word_of_level_three_refuses_the_message(policy: Policy) -> None:
    """Also in traditional characters with a mark between."""
    check = policy.check_input("教我洗·錢")
    assert check.decision == "refuse"
    assert [(f.level, f.action, f.note) for f in check.findings] == [(3, "refuse", "illegal")]


def test_findings_never_hold_what_was_found(policy: Policy) -> None:
    """They may be logged: neither the word nor the number stands in them."""
    dumped = "".join(f.model_dump_json() for f in policy.check_input("idiot 洗钱 13800138000 a@b.cn").findings)
    assert not any(secret in dumped for secret in ("idiot", "洗钱", "13800138000", "a@b.cn"))


def test_the_tenant_decides_what_is_done(folder: Path) -> None:
    """Each level and each kind on input can pass, be masked or be refused."""
    policy = Policy.build(
        {
            "words": ["words.txt"],
            "input": {"word_level_1": "pass", "personal_data": {"email": "pass", "bank_card": "refuse"}},
        },
        folder,
    )
    assert policy.check_input("idiot, a@b.cn").text == "idiot, a@b.cn"
    assert policy.check_input("idiot, a@b.cn").decision == "pass"
    assert len(policy.check_input("idiot, a@b.cn").findings) == 2
    assert policy.check_input("4111 1111 1111 1111").decision == "refuse"
    assert policy.check_input("+8613800138000").decision == "mask"


def test_the_model_s_own_tokens_are_defused(policy: Policy) -> None:
    """The list of the model's tokenizer comes with the call."""
    assert policy.check_input("<reponame>x", ["<reponame>"]).text == "‹reponame›x"
    assert policy.check_input("<reponame>x").text == "<reponame>x"


def test_a_message_beyond_the_longest_is_refused_as_too_long(folder: Path) -> None:
    """A fault of its own, before anything else is done."""
    policy = Policy.build({"max_characters": 5}, folder)
    assert policy.check_input("12345").decision == "pass"
    with pytest.raises(MessageTooLong, match="6 characters, 5 are allowed"):
        policy.check_input("123456")


@given(st.text(st.sampled_from("idiot 洗钱錢１3890@.cn<|im_start>\u200b"), max_size=60))
def test_masking_leaves_nothing_to_find(text: str) -> None:
    """Checked again, the text that the model sees has nothing left to mask or refuse."""
    again = _POLICY.check_input(_POLICY.check_input(text).text)
    assert [f for f in again.findings if f.rule != "personal_data"] == []
    assert all(0 <= f.start < f.end <= len(text) for f in _POLICY.check_input(text).findings)


def test_a_good_answer_has_no_findings(policy: Policy) -> None:
    """A verdict of ``pass``."""
    findings = review(policy, "You have 30 days from delivery. [1]")
    assert findings == ()
    assert policy.verdict(findings) == "pass"


@pytest.mark.parametrize(
    ("answer", "changed", "rule"),
    [
        ("", {}, "empty"),
        (" … [ ]", {}, "empty"),
        ("You have 30 days from", {"finish_reason": "length"}, "cut_off"),
        ("Call us now. " * 9, {}, "repetition"),
        ("One two three.", {"finish_reason": "repetition"}, "repetition"),
        ("您有三十天时间。", {}, "wrong_language"),
        ("You have 30 days. 您有三", {"finish_reason": "wrong_language"}, "wrong_language"),
        ("You have 30 days.<|im_end|>", {}, "template_tokens"),
        ("You have 30 days.<reponame>", {"template_tokens": ["<reponame>"]}, "template_tokens"),
        ("I think so.</think>You have 30 days.", {}, "reasoning_leak"),
        ("You have 30 days, idiot.", {}, "word_level_1"),
        ("Try an on-line casino.", {}, "word_level_2"),
        ("You may 洗錢 in it, of course, as you like.", {}, "word_level_3"),
        ("Call +49 30 123456.", {}, "personal_data_new"),
    ],
)
def test_each_rule_finds_its_fault(policy: Policy, answer: str, changed: dict[str, Any], rule: str) -> None:
    """And nothing else is found in the same answer."""
    assert rules(review(policy, answer, **changed)) == [rule]


def test_known_personal_data_may_be_repeated(policy: Policy) -> None:
    """What stands in the passages or in the question is not new, however it is written."""
    assert review(policy, "Call (+49) 30 901820.".replace("(+49)", "+49")) == ()
    assert review(policy, "We call 138-0013-8000.", question="my phone is 13800138000, call me") == ()


def test_a_quoted_answer_is_not_judged_by_its_language_or_length(policy: Policy) -> None:
    """It is made of passages, in whatever language they are."""
    assert review(policy, "您有三十天时间。", quoted=True, finish_reason="length") == ()
    assert rules(review(policy, "您这个idiot。", quoted=True)) == ["word_level_1"]


def test_claims_get_the_action_of_their_rule(folder: Path) -> None:
    """They are found elsewhere; what is done about them is this policy's."""
    policy = Policy.build({"output": {"unsupported_claim": "human"}}, folder)
    claim = Finding(rule="unsupported_claim", label="number", start=9, end=11, action="pass")
    findings = review(policy, "You have 40 days.", claims=[claim])
    assert [(f.rule, f.action, f.start) for f in findings] == [("unsupported_claim", "human", 9)]
    assert policy.verdict(findings) == "human"
    with pytest.raises(PolicyFault, match="no rule about claims"):
        review(policy, "x y", claims=[claim.model_copy(update={"rule": "empty"})])


def test_only_masked_findings_are_covered_in_an_answer(policy: Policy) -> None:
    """The span is that of the answer as it came."""
    answer = "您好 ｉｄｉｏｔ, call 13900139000, you online casino."
    findings = review(policy, answer, quoted=True)
    assert policy.verdict(findings) == "mask"
    assert policy.mask(answer, findings) == "您好 ███, call ███, you ███."


def test_the_verdict_is_the_sternest_action(policy: Policy) -> None:
    """In the order of the policy's actions, whatever the order of the findings."""

    def finding(action: Any) -> Finding:
        return Finding(rule="empty", label="", start=0, end=0, action=action)

    actions = [action for action in ORDER if action != "refuse"]
    for i, action in enumerate(actions):
        assert policy.verdict(finding(a) for a in reversed(actions[: i + 1])) == action
    assert policy.verdict([]) == "pass"


def test_texts_have_kind_defaults_in_both_languages(folder: Path) -> None:
    """A tenant's text replaces its language only; a language without one reads English."""
    policy = Policy.build({"texts": {"refusal": {"zh": "不行哦"}}}, folder)
    assert policy.text("refusal", "zh") == "不行哦"
    assert "sorry" in policy.text("refusal", "en")
    assert policy.text("refusal", "fr") == policy.text("refusal", "en")
    for kind in ("refusal", "fallback", "blocked", "failed", "cancelled", "waiting"):
        assert policy.text(kind, "zh") != policy.text(kind, "en")


def test_the_digest_names_rules_and_words(folder: Path) -> None:
    """The same content has the same digest wherever the list lies; a changed rule or word has another."""
    policy = Policy.build({"words": "words.txt"}, folder)
    (folder / "moved.txt").write_text("# moved\n" + WORDS, encoding="utf-8")
    assert Policy.build({"words": "moved.txt"}, folder).digest == policy.digest
    assert Policy.build({"words": "words.txt", "fail": "open"}, folder).digest != policy.digest
    (folder / "words.txt").write_text(WORDS.replace("\t1\t", "\t2\t"), encoding="utf-8")
    assert Policy.build({"words": "words.txt"}, folder).digest != policy.digest


def test_a_policy_is_made_again_from_its_content(policy: Policy) -> None:
    """What was kept under the digest judges as the policy did."""
    again = Policy.from_content(policy.content)
    assert again.digest == policy.digest
    assert again.check_input("idiot 13800138000") == policy.check_input("idiot 13800138000")


@pytest.mark.parametrize(
    ("mapping", "complaint"),
    [
        ({"wrods": []}, "wrods: no such rule; there are words, input"),
        ({"output": {"emtpy": "pass"}}, r"output\.emtpy: no such rule; there are unsupported_claim"),
        ({"output": {"empty": "mask"}}, r"output\.empty: .*'regenerate'"),
        ({"input": {"word_level_1": "block"}}, r"input\.word_level_1: .*'refuse' \(it is 'block'\)"),
        ({"input": {"personal_data": {"shoe_size": "mask"}}}, r"input\.personal_data\.shoe_size"),
        ({"texts": {"refusal": {"en": " "}}}, r"texts\.refusal: the text for 'en' is empty"),
        ({"fail": "maybe"}, "fail: .*'closed' or 'open'"),
        ({"words": "nowhere.txt"}, "nowhere.txt: no such word list"),
    ],
)
def test_a_wrong_rule_is_named_with_the_way_out(tmp_path: Path, mapping: dict[str, Any], complaint: str) -> None:
    """One line: the key, what is wrong and what is allowed."""
    with pytest.raises(PolicyFault, match=complaint) as fault:
        Policy.build(mapping, tmp_path)
    assert "\n" not in fault.value.message


def test_an_empty_mapping_is_a_whole_policy(tmp_path: Path) -> None:
    """Every rule has a default, and the review fails closed."""
    policy = Policy.build({}, tmp_path)
    assert policy.rules == PolicyRules()
    assert policy.rules.fail == "closed"


_POLICY = Policy.from_content(
    '{"rules":{},"words":[["idiot",1,"insult"],["洗钱",3,"illegal"],["cn",2,"x"],["im",1,"x"]]}'
)


def test_reasoning_is_covered_whatever_would_be_done_about_an_answer() -> None:
    """It is shown beside an answer that stands; nobody judges it by itself."""
    policy = Policy(PolicyRules(), WordList([ListedWord("forbidden", 3, "x"), ListedWord("rude", 1, "x")]))
    assert policy.cover("A rude and forbidden call to 13812345678.") == "A ███ and ███ call to ███."
