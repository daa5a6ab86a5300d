"""Writes fixtures/chat_templates.json: what transformers renders for the templates of chat_template_cases.py.

Made with transformers 5.24.0, jinja2 3.1.6.
"""

import json
import logging
import pathlib

from chat_template_cases import CHATS, ERRORS, TEMPLATES, TOOLS, VALUES, WHOLE
from chat_template_published import PUBLISHED
from transformers.utils import chat_template_utils

FILE = pathlib.Path(__file__).parent / "fixtures" / "chat_templates.json"
VARIABLES = {"bos_token": "<s>", "eos_token": "</s>", "custom": {"a": [1]}}


def render(template, chat, tools=None, add_generation_prompt=False, **more):
    """The text and the assistant's spans, or an error."""
    marked = "{% generation" in template or "{%- generation" in template
    try:
        texts, spans = chat_template_utils.render_jinja_template(
            [CHATS[chat]], tools=tools, chat_template=template, return_assistant_tokens_mask=marked,
            add_generation_prompt=add_generation_prompt, **VARIABLES, **more)
    except Exception as error:  # what jinja2 throws has no common base
        return {"error": f"{type(error).__name__}: {error}"}
    return {"text": texts[0], "spans": [list(span) for span in (spans[0] if spans else [])]}


def main():
    logging.disable(logging.WARNING)
    cases = []

    def add(template, chat, **options):
        case = {"template": template, "chat": chat, **options}
        more = dict(options)
        case["expected"] = render(template, chat, tools=TOOLS if more.pop("tools", False) else None, **more)
        cases.append(case)

    for value in VALUES:
        add("{{ " + value + " }}", "plain")
    for template in TEMPLATES:
        add(template, "system")
    for name, template in (WHOLE | PUBLISHED).items():
        rendered = 0
        for chat in CHATS:
            for tools in (False, True):
                add(template, chat, tools=tools, add_generation_prompt=chat != "system")
                rendered += "text" in cases[-1]["expected"]
        if name in PUBLISHED:
            print(f"{name}: {rendered} of 10 chats render")
    add(WHOLE["thinking"], "plain", tools=False, add_generation_prompt=True, enable_thinking=False)
    for template in ERRORS:
        add(template, "plain")
        if "error" not in cases[-1]["expected"]:
            print(f"renders: {template!r}: {cases[-1]}")
    # Whole templates stand once, by number.
    whole = list((WHOLE | PUBLISHED).values())
    for case in cases:
        if case["template"] in whole:
            case["template"] = whole.index(case["template"])
    FILE.write_text(json.dumps({"chats": CHATS, "tools": TOOLS, "variables": VARIABLES, "templates": whole,
                                "cases": cases}, ensure_ascii=True, indent=0) + "\n")
    failed = [case for case in cases[:len(VALUES) + len(TEMPLATES)] if "error" in case["expected"]]
    for case in failed:
        print("fails:", case["template"], case["expected"])
    print(len(cases), "cases")


if __name__ == "__main__":
    main()
