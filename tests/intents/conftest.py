"""A small shop's intents, in both languages."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

_EN = {
    "return_item": ["I want to return shoes", "send back a jacket", "how do I return an order", "return policy please",
                    "can I give the shirt back", "returning a parcel", "get my money back for a dress"],
    "card_lost": ["I lost my card", "my card was stolen", "block my card now", "card is missing",
                  "freeze the bank card", "someone took my card", "my debit card is gone"],
    "greeting": ["hello", "hi there", "good morning", "hey you", "good evening to you", "hello friend", "hi"],
    "speak_to_person": ["let me talk to a human", "I want a real person", "connect me to an agent", "agent please",
                        "speak to a person now", "is a human there", "give me a human colleague"],
}  # fmt: skip
_ZH = {
    "return_item": ["我要退货", "怎么退鞋子", "退货政策是什么", "衣服想退掉", "退款流程", "裙子能退吗", "把外套退回去"],
    "card_lost": ["我的卡丢了", "银行卡被偷了", "快冻结我的卡", "卡不见了", "挂失银行卡",
                  "借记卡找不到了", "卡片遗失怎么办"],
    "greeting": ["你好", "您好呀", "早上好", "晚上好", "嗨你好", "哈喽", "大家好"],
    "speak_to_person": ["我要人工", "转人工客服", "找真人说话", "人工服务", "让客服接电话", "请接人工坐席", "有真人吗"],
}  # fmt: skip
_OUT_EN = ["what is the weather", "tell me a joke", "who won the world cup", "cook some pasta", "write a poem",
           "capital of France", "how tall is Everest", "my head aches"]  # fmt: skip
_OUT_ZH = [
    "今天天气怎么样",
    "讲个笑话",
    "谁赢了世界杯",
    "红烧肉怎么做",
    "写一首诗",
    "法国首都是哪",
    "珠峰多高",
    "我头疼",
]
_ROUTES = {"return_item": "retrieve", "card_lost": "retrieve", "greeting": "template", "speak_to_person": "human"}

_MAPPING: dict[str, Any] = {
    "version": 1,
    "intents": {
        name: {
            "description": {"en": name, "zh": name},
            "route": route,
            "template": "greeting" if route == "template" else None,
            "examples": {"en": _EN[name], "zh": _ZH[name]},
        }
        for name, route in _ROUTES.items()
    },
    "templates": {"greeting": {"en": "Hello! How can I help?", "zh": "您好！请问有什么可以帮您？"}},
    "out_of_scope": {
        "reply": {"en": "I only know about our shop.", "zh": "我只了解本店的事情。"},
        "examples": {"en": _OUT_EN, "zh": _OUT_ZH},
    },
}


@pytest.fixture
def mapping() -> dict[str, Any]:
    """The file's content, to be changed by a test."""
    return copy.deepcopy(_MAPPING)


@pytest.fixture
def written(tmp_path: Path) -> Callable[[Any], Path]:
    """Writes a mapping, or a text as it is, to ``intents.yaml``."""

    def write(content: Any) -> Path:
        path = tmp_path / "intents.yaml"
        text = content if isinstance(content, str) else yaml.safe_dump(content, allow_unicode=True, sort_keys=False)
        path.write_text(text, encoding="utf-8")
        return path

    return write
