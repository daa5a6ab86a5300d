"""Small templates for generate_chat_templates.py: one construct each, and whole ones in the manner of published
models. All were written for this test."""

TOOLS = [{"type": "function", "function": {
    "name": "get_weather", "description": "Tells the weather \u00e9\u4e09 <now> & \"here\".",
    "parameters": {"type": "object", "properties": {
        "place": {"type": "string", "description": "A town"},
        "unit": {"type": "string", "enum": ["c", "f"]}}, "required": ["place"]}}},
    {"type": "function", "function": {"name": "stop", "parameters": {"type": "object", "properties": {}}}}]

CHATS = {
    "plain": [{"role": "user", "content": "Who wrote it?"}, {"role": "assistant", "content": "Luo Guanzhong did."},
              {"role": "user", "content": "  \u4e09\u56fd\u6f14\u4e49?\n"}],
    "system": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"},
               {"role": "assistant", "content": "<think>\nA greeting.\n</think>\n\nHello \U0001F600!"},
               {"role": "user", "content": "Bye"}, {"role": "assistant", "content": "Bye."}],
    "tools": [{"role": "user", "content": "Weather in Jena?"},
              {"role": "assistant", "content": "", "tool_calls": [
                  {"id": "abc123def", "type": "function",
                   "function": {"name": "get_weather", "arguments": {"place": "Jena", "days": 2, "exact": 0.5}}}]},
              {"role": "tool", "name": "get_weather", "tool_call_id": "abc123def", "content": "{\"t\": 21}"},
              {"role": "assistant", "content": "21 degrees."}],
    "parts": [{"role": "user", "content": [{"type": "text", "text": "Look "}, {"type": "image"},
                                           {"type": "text", "text": "here"}]},
              {"role": "assistant", "reasoning": "It is a cat.", "content": "A cat."}],
    "wrong": [{"role": "assistant", "content": "I begin."}, {"role": "user", "content": "No."}],
}

WHOLE = {
    "chatml": """{% for message in messages %}{% if loop.first and message['role'] != 'system' %}{{ '<|im_start|>system
You help.<|im_end|>
' }}{% endif %}{{'<|im_start|>' + message['role'] + '
' + message['content'] + '<|im_end|>' + '
'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant
' }}{% endif %}""",
    "headers": """{{- bos_token }}
{%- set loop_messages = messages %}
{%- if not date_string is defined %}
    {%- set date_string = "26 Jul 2024" %}
{%- endif %}
{%- if tools is not none and tools_in_user_message is not defined %}{% set tools_in_user_message = true %}{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content'] | trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|header|>system<|end|>\\n\\nDate: " + date_string + "\\n" }}
{%- if tools is not none and not tools_in_user_message %}
    {%- for t in tools %}
        {{- t | tojson(indent=4) }}
        {{- "\\n\\n" }}
    {%- endfor %}
{%- endif %}
{{- system_message ~ "<|eot|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|header|>' + message['role'] + '<|end|>\\n\\n' }}{{ message['content'] | trim + '<|eot|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}
            {{- raise_exception("One call at a time!") }}
        {%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '{"name": "' + tool_call.name + '", ' }}{{- '"parameters": ' }}{{- tool_call.arguments | tojson }}{{- "}" }}
    {%- elif message.role == "tool" %}
        {%- if message.content is mapping or message.content is iterable %}{{- message.content | tojson }}{%- else %}{{- message.content }}{%- endif %}
        {{- "<|eot|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|header|>assistant<|end|>\\n\\n' }}
{%- endif %}
""",
    "alternating": """{%- if messages[0]["role"] == "system" %}
    {%- set system_message = messages[0]["content"] %}
    {%- set loop_messages = messages[1:] %}
{%- else %}
    {%- set loop_messages = messages %}
{%- endif %}
{%- if not tools is defined %}{%- set tools = none %}{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}
{%- set ns = namespace() %}
{%- set ns.index = 0 %}
{%- for message in loop_messages %}
    {%- if not (message.role == "tool" or message.role == "tool_results" or (message.tool_calls is defined and message.tool_calls is not none)) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}
            {{- raise_exception("roles must alternate") }}
        {%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}
            {{- "[TOOLS] [" }}
            {%- for tool in tools %}
                {%- set tool = tool.function %}
                {{- '{"type": "function", "function": {' }}
                {%- for key, val in tool.items() if key != "return" %}
                    {%- if val is string %}
                        {{- '"' + key + '": "' + val + '"' }}
                    {%- else %}
                        {{- '"' + key + '": ' + val|tojson }}
                    {%- endif %}
                    {%- if not loop.last %}{{- ", " }}{%- endif %}
                {%- endfor %}
                {{- "}}" }}
                {%- if not loop.last %}{{- ", " }}{%- else %}{{- "]" }}{%- endif %}
            {%- endfor %}
            {{- "[/TOOLS]" }}
        {%- endif %}
        {%- if loop.last and system_message is defined %}
            {{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " ~ message["content"] ~ "[/INST]" }}
        {%- endif %}
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}
        {{- "[CALLS] [" }}
        {%- for tool_call in message.tool_calls %}
            {%- set out = tool_call.function|tojson %}
            {{- out[:-1] }}
            {%- if not tool_call.id is defined or tool_call.id|length != 9 %}{{- raise_exception("ids have 9 letters") }}{%- endif %}
            {{- ', "id": "' + tool_call.id + '"}' }}
            {%- if not loop.last %}{{- ", " }}{%- else %}{{- "]" + eos_token }}{%- endif %}
        {%- endfor %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"]|trim + eos_token}}
    {%- elif message["role"] == "tool" %}
        {%- if message.content is defined and message.content.content is defined %}{%- set content = message.content.content %}{%- else %}{%- set content = message.content %}{%- endif %}
        {{- '[RESULTS] {"content": ' + content|string + "}" }}
    {%- else %}
        {{- raise_exception("Only user and assistant roles!") }}
    {%- endif %}
{%- endfor %}
""",
    "thinking": """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0].role == 'system' %}
        {{- messages[0].content + '\\n\\n' }}
    {%- endif %}
    {{- "# Tools\\n\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools><|im_end|>\\n" }}
{%- elif messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step_tool and message.role == "user" and message.content is string and not(message.content.startswith('<resp>') and message.content.endswith('</resp>')) %}
        {%- set ns.multi_step_tool = false %}
        {%- set ns.last_query_index = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}{%- set content = message.content %}{%- else %}{%- set content = '' %}{%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning_content = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning_content = message.reasoning_content %}
        {%- else %}
            {%- if '</think>' in content %}
                {%- set reasoning_content = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
                {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
            {%- endif %}
        {%- endif %}
        {{- '<|im_start|>' + message.role + '\\n' }}
        {%- generation %}
        {%- if loop.index0 > ns.last_query_index and (loop.last or (not loop.last and reasoning_content)) %}
            {{- '<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- content }}
        {%- endif %}
        {%- if message.tool_calls %}
            {%- for tool_call in message.tool_calls %}
                {%- if (loop.first and content) or (not loop.first) %}{{- '\\n' }}{%- endif %}
                {%- if tool_call.function %}{%- set tool_call = tool_call.function %}{%- endif %}
                {{- '<call>\\n{"name": "' }}{{- tool_call.name }}{{- '", "arguments": ' }}
                {%- if tool_call.arguments is string %}{{- tool_call.arguments }}{%- else %}{{- tool_call.arguments | tojson }}{%- endif %}
                {{- '}\\n</call>' }}
            {%- endfor %}
        {%- endif %}
        {{- '<|im_end|>' }}
        {%- endgeneration %}
        {{- '\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}{{- '<|im_start|>user' }}{%- endif %}
        {{- '\\n<resp>\\n' }}{{- content }}{{- '\\n</resp>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}{{- '<|im_end|>\\n' }}{%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}
{%- endif %}""",
    "turns": """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<turn>' + role + '
' + message['content'] | trim + '</turn>
' }}{% endfor %}{% if add_generation_prompt %}{{'<turn>model
'}}{% endif %}""",
    "macros": """{%- macro json_type(type) -%}
    {%- if type is string %}{{ {"string": "str", "number": "float"}[type] or "Any" }}{%- else %}Any{%- endif %}
{%- endmacro -%}
{%- macro show(spec, depth=0, sep=", ") %}
    {%- for name, value in (spec.properties | default({})) | dictsort %}
        {{- name }}: {{ json_type(value.type) }}{% if name in (spec.required or []) %}!{% endif %}
        {%- if value.enum %} = {{ value.enum | map("upper") | join("|") }}{% endif %}
        {%- if not loop.last %}{{ sep }}{% endif %}
    {%- endfor %}
{%- endmacro %}
{%- for tool in tools or [] %}
{{ tool.function.name }}({{ show(tool.function.parameters, sep="; ") }})
{%- endfor %}
{% set text %}
  {%- for m in messages if m.role != "system" -%}
    {{ loop.index }}/{{ loop.length }} {{ m.role | title }}: {{ m.content if m.content is string else (m.content | selectattr("type", "equalto", "text") | map(attribute="text") | join) }}
  {% endfor %}
{%- endset %}
{{- text | indent(2) }}
{%- for m in messages %}
{%- if m.role == "user" %}{% continue %}{% endif %}
{%- if loop.index > 2 %}{% break %}{% endif %}
[{% generation %}{{ m.content }}{% endgeneration %}]
{%- else %}none{% endfor %}""",
}

VALUES = [
    "1 + 2 * 3 - 4 / 2", "7 // 2 ~ '|' ~ -7 // 2 ~ '|' ~ -7 % 3 ~ '|' ~ 2 ** 3", "1.5 + 1", "1e16", "123456789.25 * 1000",
    "0.1 + 0.2", "1 / 3", "1e-5", "-3 | abs", "- 3 | string", "'a' 'b' ~ 1 ~ none ~ true", "'ab' * 3", "[1] * 2 + [none]",
    "[1, 'a', 2.0, true, none, {'k': (1,)}, 'it\\'s', \"\\\"'\"]", "{'b': 1, 'a': [1, 2]}", "()", "(1, 2)[1]", "1 < 2 < 3",
    "1 < 2 > 3", "'a' < 'b' and not 2 <= 1", "1 == 1.0 == true", "'a' in 'abc' and 'd' not in 'abc'", "2 in [1, 2]",
    "'k' in {'k': none}", "missing", "missing is defined", "missing is undefined or missing.x", "missing | default('d')",
    "missing | default", "'' | default('d')", "'' | default('d', true)", "none | d('x')", "missing ~ 'x'", "missing == missing",
    "missing | length", "'a' if false", "'a' if missing else 'b'", "1 if 0 else 2 if 0 else 3", "[] or 'e'", "[] and 'e'",
    "not none", "'abc'[1]", "'abc'[-1]", "'abc'[5]", "'a\u4e09b'[1:]", "'abcdef'[::-1]", "'abcdef'[1:5:2]", "'abcdef'[-3:-1]",
    "[1,2,3,4][-2:]", "[1,2,3,4][::-2]", "[1,2,3][5:]", "(1,2,3)[:2]", "'\u4e09\u56fd' | length", "[1,2] | length", "{'a':1}|count",
    "'  x\u3000' | trim ~ '.'", "'xxaxx'.strip('x')", "'  a '.lstrip() ~ '.'", "'abc'.rstrip('bc')", "'a,b,,c'.split(',')",
    "' a  b c '.split()", "'a b c'.split(' ', 1)", "'a b c'.rsplit(' ', 1)", "' a  b '.rsplit(none, 1)", "'a\\nb\\r\\nc\\n'.splitlines()",
    "'abc'.startswith('ab') ~ 'abc'.endswith(('x', 'c'))", "'aXbX'.replace('X', '--')", "'aaa'.replace('a', 'b', 2)",
    "'ab'.replace('', '-')", "'aaa' | replace('a', 'b', 1)", "'hello world'.title() ~ ' ' ~ 'it\\'s a-b c_d' | title",
    "'it\\'s a-b'.title()", "'hELLO'.capitalize()", "'abc' | upper ~ 'ABC' | lower", "'abcabc'.find('c') ~ 'abc'.find('z')",
    "'a\u4e09b'.find('b')", "'banana'.count('an')", "'a-b-c'.partition('-')", "'a-b-c'.rpartition('-')", "'7'.zfill(3) ~ '-7'.zfill(4)",
    "'abc'.removeprefix('ab') ~ 'abc'.removesuffix('bc')", "'12'.isdigit() ~ 'ab1'.isalpha() ~ ' '.isspace()", "'Ab'.islower() ~ 'AB'.isupper()",
    "', '.join(['a', 'b'])", "{'a': 1, 'b': 2}.items() | list", "{'a': 1}.keys() | list ~ {'a': 1}.values() | list", "{'a': 1}.get('a') ~ {'a': 1}.get('b') ~ {}.get('b', 'c')",
    "{'items': 1}['items']", "{'a': 1}.b is defined", "{'a': {'b': 2}}.a.b", "[3,1,2] | sort", "['b','A','c'] | sort", "['b','A'] | sort(case_sensitive=true)",
    "[3,1,2] | sort(reverse=true)", "[{'a': 2}, {'a': 1}] | sort(attribute='a')", "{'b': 1, 'A': 2} | dictsort", "{'b': 1, 'a': 2} | dictsort(by='value')",
    "[1,2,3] | first ~ [1,2,3] | last", "[] | first is defined", "'abc' | list", "'abc' | reverse", "[1,2] | reverse | list", "[1,1,2,'A','a'] | unique | list",
    "[1,2,3] | sum ~ [1.5, 1] | sum", "[{'a':1},{'a':2}] | sum(attribute='a')", "[1,5,2] | max ~ [4,2] | min", "['a','B'] | max",
    "[{'a': 1}, {'b': 2}] | selectattr('a') | list", "[{'a': 1}, {'a': 2}] | selectattr('a', '==', 2) | list", "[{'a': 1}, {'a': 2}] | rejectattr('a', 'eq', 2) | list",
    "[1,2,3,4] | select('even') | list", "[0,1,none] | select | list", "[1,2,3] | reject('odd') | list", "['a', 'b'] | map('upper') | list", "[{'a': {'b': 1}}] | map(attribute='a.b') | list",
    "[{'a': 1}, {}] | map(attribute='a', default='x') | list", "['a,b'] | map('replace', ',', ';') | first", "[1, 2] | join('-')", "[{'a': 1}, {'a': 2}] | join('+', attribute='a')",
    "'42' | int + 1", "'4.7' | int", "'x' | int(7)", "4.9 | int", "'ff' | int(0, 16)", "'1.5' | float", "'x' | float(2.5)", "3 | float", "2.5 | round ~ 3.14159 | round(2)", "42.55 | round(1, 'floor')", "7 | round",
    "none | string ~ 1.0 | string ~ [1] | string", "'<a href=\"x\">&\\'' | escape", "'<b>' | safe", "'a b  c' | wordcount", "'a\\nb\\n\\nc' | indent", "'a\\nb' | indent(2, true)", "'a\\n\\nb' | indent('> ', blank=true)",
    "{'a': [1, 2.5, none, true], 'b': {}, 'c': [], 'd': '\"\\\\\\n\\t\u00e9\u4e09\\x01/<>'} | tojson", "{'b': [1, {'x': 'y'}], 'a': 1} | tojson(indent=2)", "{'b': 1, 'a': 2} | tojson(sort_keys=true)",
    "['\u00e9\U0001F600'] | tojson(ensure_ascii=true)", "[1,2] | tojson(separators=(',', ':'))", "[] | tojson(indent=4)", "1e100 | tojson ~ 1.0 | tojson", "'x' | tojson",
    "1 is integer ~ 1.0 is integer ~ true is integer", "1.0 is float ~ 1 is number ~ true is number", "'a' is string ~ [] is string", "{} is mapping ~ [] is mapping", "[] is sequence ~ 'a' is sequence ~ {} is sequence ~ 1 is sequence",
    "[] is iterable ~ 'a' is iterable ~ 1 is iterable ~ none is iterable", "none is none ~ 0 is none", "true is true ~ 1 is true ~ false is false ~ 0 is false", "true is boolean ~ 1 is boolean", "3 is odd ~ 3 is even ~ 9 is divisibleby 3",
    "1 is eq 1 ~ 1 is ne 1 ~ 2 is gt 1 ~ 2 is lessthan 1", "1 is in [1, 2] ~ 'a' is not in 'bc'", "'abc' is lower ~ 'ABC' is upper", "range is callable", "1 is sameas 1", "'x' is equalto('x')", "not 1 is none",
    "range(3) | list ~ range(1, 7, 2) | list ~ range(3, 0, -1) | list", "dict(a=1, b=2)", "dict({'x': 1}, y=2) | tojson", "namespace(a=1).a", "'a' ~ ('b' if true else 'c') ~ 'd'", "[1, [2, [3]]][1][1][0]", "{'a': 1}['b'] is defined",
    "'a\\tb\\\\c\\u00e9\\x41\\n'", "1_000 + 0", "messages[0].role", "messages[-1]['content'] | trim", "messages | map(attribute='role') | join(',')", "[1,2,3].index(2) ~ [1,1].count(1)", "'%' ~ 5", "2 ** -1", "-2 ** 2", "'a' + 'b' | upper", "(1 + 2) | string + 'x'", "1.0 // 0.3", "-7.5 % 2",
]

TEMPLATES = [
    "a\n  {% if true %}\n  b\n  {% endif %}\nc\n", "a\n  {%- if true -%}\n  b\n  {%- endif -%}\nc\n\n", "a\n  {%+ if true +%}\n  b\n  {%+ endif %}\nc", "  {{ 1 }}  \n  {{- 2 -}}  \n x", "a {# c #}\n b\n  {# d #}\nc {#- e -#} d",
    "{% raw %}{{ x }} {% if %}{% endraw %}\n y", "a\n  {%- raw -%}  \n {{ }} \n{%- endraw -%} b", "{{ '}}' }}{{ {'a': {'b': 1}}['a']['b'] }}", "a\r\nb\rc{% if 1 %}\r\nd{% endif %}", "{{ 'a' }}\n", "x\n\n",
    "{% for i in [1,2,3] %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }} {% endfor %}", "{% for i in [] %}x{% else %}none{% endfor %}", "{% for i in missing %}x{% endfor %}.",
    "{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}={{ v }};{% endfor %}", "{% for (a, b) in [(1, 2), [3, 4]] %}{{ a + b }},{% endfor %}", "{% for i in range(6) if i % 2 %}{{ i }}/{{ loop.length }} {% endfor %}", "{% for c in 'a\u4e09' %}[{{ c }}]{% endfor %}", "{% for k in {'x': 1} %}{{ k }}{% endfor %}",
    "{% for i in [1,2,2,3] %}{{ loop.previtem }}<{{ i }}>{{ loop.nextitem }}{{ loop.changed(i) }}{{ loop.cycle('a', 'b') }} {% endfor %}", "{% set x = 1 %}{% for i in [1, 2] %}{{ x }}{% set x = x + 1 %}{{ x }}{% endfor %}{{ x }}", "{% set ns = namespace(n=0) %}{% for i in [1, 2, 3] %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}",
    "{% if false %}{% set y = 1 %}{% endif %}{{ y is defined }}{% if true %}{% set y = 2 %}{% endif %}{{ y }}", "{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set c = 1, 2 %}{{ c }}", "{% set x %}a{{ 1 }}{% endset %}[{{ x }}]{% set y | upper | replace('A', 'B') %}a{% endset %}{{ y }}",
    "{% macro m(a, b='x', c=none) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }}|{{ m(1, c=2) }}|{{ m(b=3, a=4) }}|{{ m() }}", "{% macro f(n) %}{% if n > 0 %}{{ n }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(5) }}", "{% set g = 1 %}{% macro m() %}{{ g }}{% endmacro %}{% set g = 2 %}{{ m() }}", "{% macro m(x) %}{{ x | upper }}{% endmacro %}{{ m('a') ~ m('b') | length }}",
    "{% for i in range(5) %}{% if i == 1 %}{% continue %}{% elif i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}", "{% for i in [1, 2] %}{% for j in [1, 2, 3] %}{% if j == 2 %}{% break %}{% endif %}{{ i }}{{ j }} {% endfor %}{% endfor %}", "{% for i in [1,2] %}{% set outer = loop %}{% for j in [1] %}{{ outer.index }}.{{ loop.index }} {% endfor %}{% endfor %}",
    "{% if 0 %}a{% elif '' %}b{% elif [] %}c{% else %}d{% endif %}", "{% if messages is defined and messages|length > 0 and (messages[0].role == 'user' or messages[0].role == 'system') %}y{% endif %}", "{% generation %}ab{% endgeneration %}c{% generation %}{{ '\u4e09' }}{% set q = 1 %}{% endgeneration %}{{ q is defined }}",
    "{% for m in messages %}{{ m.role }}:{% if m.role == 'assistant' %}{% generation %}{{ m.content }}<e>{% endgeneration %}{% else %}{{ m.content }}{% endif %}\n{% endfor %}", "{{ bos_token }}{{ eos_token is defined }}{{ custom.a[0] }}", "{%- for m in messages -%}\n  {{ m.role }}\n{% endfor -%}\n end", "{{ strftime_now('%Y') | length }}",
    "{% set ns = namespace(found=false, items=[]) %}{% for m in messages %}{% set ns.items = ns.items + [m.role] %}{% endfor %}{{ ns.items }}{{ ns.found }}{{ ns.other is defined }}", "{{ tools | tojson if tools else 'no tools' }}", "{{ documents | length if documents else 'no documents' }}", "{% set m = messages[0] %}{{ m.content[:3] }}{{ m['role'][0] | upper }}",
    "{{ ['a', 'b',] | length }}{{ {'a': 1,} | length }}", "{{ 1\n+\n2 }}", "{% set x = {\n  'a': 1\n} %}{{ x.a }}", "{{ [] is sequence and [] is not string and [] is not mapping }}",
]

# Every one of these fails in transformers, too.
ERRORS = [
    "{{ raise_exception('no ' ~ 'way') }}", "{{ missing.x }}", "{{ missing[0] }}", "{{ missing() }}", "{{ 1 + 'a' }}", "{{ 'a' < 1 }}", "{{ none | length }}", "{% for i in 1 %}{% endfor %}", "{% for a, b in [(1, 2, 3)] %}{% endfor %}", "{{ 1 / 0 }}", "{{ [1].append(2) }}",
    "{% if true %}", "{% endif %}", "{{ 1 + }}", "{{ 'a }}", "{{ (1, 2 }}", "{{ [1) }}", "{# x", "{% for x %}{% endfor %}", "{% set 1 = 2 %}", "{{ 1 2 }}", "{% foo %}", "{{ x | no_such_filter }}", "{{ x is no_such_test }}", "{{ {'a' 1} }}", "{% macro m(a, a2=1, b) %}{% endmacro %}", "{{ 5 in 3 }}",
    "{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{% endmacro %}{{ m(b=2) }}", "{% set x.y = 1 %}", "{% set true = 1 %}", "{{ namespace(_a=1) }}", "{{ ~ }}", "{% if %}x{% endif %}", "{{ 'abc'.index('z') }}", "{{ missing | tojson }}", "{{ ''.join([1]) }}", "{% elif %}", "{{ 'a'.split('') }}",
    "{{ @ }}", "{% break %}", "{{ f(a=1, 2) }}", "{{ range(1000000) | length }}", "{{ -'a' }}", "{{ {}['a'].b }}", "{{ [1,2]|sum(start='x') }}", "{% endfor %}", "{% for i in [1] %}{% endif %}",
    "{% if 1 if true else 2 %}{% endif %}",
]
