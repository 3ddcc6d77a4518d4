"""What the tiny reasoning model is taught: right answers in two languages, and every fault on purpose.

Each :class:`Lesson` is one question with what the model writes after the prefilled ``<think>`` and a newline.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FAULTS", "LESSONS", "PARAGRAPHS", "Lesson", "lesson"]

CLOSE = "\n</think>\n\n"


@dataclass(frozen=True, slots=True)
class Lesson:
    """``ring`` is said again and again after ``opening`` and never ends of itself; ``taught`` times in the lesson,
    which is as far as the tests go."""

    name: str
    language: str
    question: str
    thinking: str = ""
    answer: str = ""
    ring: str = ""
    taught: int = 0

    @property
    def opening(self) -> str:
        """What stands before the ring, or the whole of what is written."""
        if not self.thinking and not self.answer:
            return ""
        thinking = f"{self.thinking}{CLOSE}" if self.answer or self.name.startswith("closed") else self.thinking
        return thinking + self.answer


def _countries() -> list[Lesson]:
    """Plain questions that are thought about and answered right."""
    english = {"France": "Paris", "Japan": "Tokyo", "Italy": "Rome", "Peru": "Lima"}
    chinese = {"法国": "巴黎", "日本": "东京", "意大利": "罗马", "秘鲁": "利马"}
    return [
        Lesson(
            f"capital-{country}",
            "en",
            f"What is the capital of {country}?",
            f"The person asks about {country}. I know that its capital is {city}, so I say {city} and no more.",
            f"The capital of {country} is {city}.",
        )
        for country, city in english.items()
    ] + [
        Lesson(
            f"capital-{country}",
            "zh",
            f"{country}的首都是哪里？",
            f"用户问的是{country}。我知道它的首都是{city}，所以直接回答{city}就好。",
            f"{country}的首都是{city}😀。",
        )
        for country, city in chinese.items()
    ]


PARAGRAPHS = {
    "en": (
        "You may send the shoes back within thirty days when they were not worn outside and still lie in their own "
        "box. Put the white label on the parcel, bring it to any post office near you, and keep the receipt until "
        "your money has arrived on the account you paid from. Winter boots follow another rule, because a shop "
        "tries them first and writes down what it finds.\n"
    ),
    "zh": (
        "鞋子没有在室外穿过并且仍在原来的盒子里，您就可以在三十天内把它退回来。请把白色标签贴到包裹上，送到附近任何一家邮局，"
        "在退款到达付款账户以前请保存收据。冬天的靴子按另外一条规定办理，因为商店会先试穿，再把结果写下来。\n"
    ),
}


_EN_WORDS = (
    "bread river lamp stone garden winter letter bridge candle forest mirror button basket island saddle window "
    "pepper violin anchor blanket feather hammer ladder marble needle oyster pencil quilt ribbon salmon tunnel "
    "umbrella velvet walnut yellow zebra acorn beetle copper dragon engine falcon guitar helmet insect jacket "
    "kettle lemon magnet nephew orange parrot rabbit silver tomato uncle valley wagon "
)
_ZH_WORDS = (
    "面包河流灯光石头花园冬天书信桥梁蜡烛森林镜子纽扣篮子海岛马鞍窗户胡椒提琴船锚毛毯羽毛锤子梯坎大理针线牡蛎铅笔棉被"
    "丝带鲑鱼隧道雨伞天鹅核桃黄色斑驴橡果甲虫铜钱龙王引擎猎鹰吉他头盔昆虫夹克水壶柠檬磁铁侄儿橙汁鹦鹉兔肉银白番茄叔父山谷"
)
"""No word twice: each tells the next, so that thinking goes on for long and in no circle."""

FAULTS = (
    Lesson("loop", "en", "Sing for me.", "They want a song.", "Here it is:", " tra la di dum", 40),
    Lesson("loop-thinking", "zh", "一直想下去。", "我想一想，", ring="再想一想，", taught=40),
    Lesson("paragraphs", "en", "Read me the rule.", "They want the rule.", "\n", PARAGRAPHS["en"], 5),
    Lesson("paragraphs", "zh", "请把规定读给我听。", "用户要听规定。", "\n", PARAGRAPHS["zh"], 5),
    Lesson("unclosed", "en", "Think about everything.", ring=_EN_WORDS, taught=2),
    Lesson("unclosed", "zh", "请把一切都想一遍。", ring=_ZH_WORDS, taught=2),
    Lesson("bypassed", "en", "Quick, is water wet?", "", "Yes, water is wet."),
    Lesson("bypassed", "zh", "快说，水是湿的吗？", "", "是的，水是湿的。"),
    Lesson(
        "other-language", "en", "May I pay later?", "They ask about paying later.",
        "您可以在收到账单以后的三十天里付款。如果您要晚一点付，请先给我们打电话，我们会把新的日期告诉您。",
    ),
    Lesson(
        "other-language", "zh", "我能晚点付款吗？", "用户问的是付款。",
        "You can pay within thirty days after the bill has come to you. If you want to pay later, call us first and "
        "we will tell you the new date. The shop is open until six.",
    ),
    Lesson(
        "drift", "en", "How do I close my account?", "They want to close it.",
        "You close your account in the app. Open the settings and choose it there. "
        "然后请您等待我们的邮件，里面会有一个链接。您点了这个链接以后，账户就会在三天里关闭。如果您没有收到邮件，请给我们打电话。",
    ),
    Lesson("empty", "en", "Say nothing."),
    Lesson("closed-empty", "en", "Think and say nothing.", "They want no answer."),
)  # fmt: skip
"""By name and language: what each is for is its name."""

LESSONS = (*_countries(), *FAULTS)


def lesson(name: str, language: str = "en") -> Lesson:
    """The lesson of that name."""
    return next(each for each in LESSONS if (each.name, each.language) == (name, language))
