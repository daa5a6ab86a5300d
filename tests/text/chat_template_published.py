"""Whole templates for generate_chat_templates.py that build the prompts of published model families, by the families'
rules. They were written for this test."""

PUBLISHED = {
    # The system text stands inside of the first question; questions and answers take turns.
    "llama2": """{%- set state = namespace(system='', expected='user') -%}
{%- for message in messages -%}
{%- if message.role == 'system' -%}
{%- if not loop.first -%}{{ raise_exception('A system message comes first, found one at ' ~ loop.index0) }}{%- endif -%}
{%- set state.system = '<<SYS>>\\n' ~ message.content.strip() ~ '\\n<</SYS>>\\n\\n' -%}
{%- else -%}
{%- if message.role != state.expected -%}{{ raise_exception('Expected ' + state.expected + ', found ' + message.role) }}{%- endif -%}
{%- if message.role == 'user' -%}
{{- bos_token + '[INST] ' + state.system + message.content.strip() + ' [/INST]' -}}
{%- set state.system = '' -%}{%- set state.expected = 'assistant' -%}
{%- else -%}
{{- ' ' ~ message['content'] | trim ~ ' ' ~ eos_token -}}
{%- set state.expected = 'user' -%}
{%- endif -%}
{%- endif -%}
{%- endfor -%}""",
    # Every turn between a header and an end mark; tools in the first question; calls as JSON.
    "llama3": """{%- macro turn(role, text) -%}
<|start_header_id|>{{ role }}<|end_header_id|>

{{ text }}<|eot_id|>
{%- endmacro -%}
{{- bos_token -}}
{%- set rest = messages -%}
{%- set system = '' -%}
{%- if messages and messages[0].role == 'system' -%}
{%- set system = messages[0].content | trim -%}
{%- set rest = messages[1:] -%}
{%- endif -%}
{%- set head = ('Environment: ipython\\n' if tools else '') ~ 'Cutting Knowledge Date: December 2023\\nToday Date: ' ~ (date_string | default('26 Jul 2024')) ~ '\\n\\n' ~ system -%}
{{- turn('system', head) -}}
{%- for message in rest -%}
{%- if message.tool_calls is defined and message.tool_calls -%}
{%- if message.tool_calls | length > 1 -%}{{ raise_exception('This model only supports single tool-calls at once!') }}{%- endif -%}
{%- set call = message.tool_calls[0].function -%}
{{- turn('assistant', '{"name": "' ~ call.name ~ '", "parameters": ' ~ call.arguments | tojson ~ '}') -}}
{%- elif message.role in ('tool', 'ipython') -%}
{{- turn('ipython', message.content | tojson if message.content is mapping or message.content is not string else message.content) -}}
{%- elif message.role == 'user' and loop.first and tools -%}
{%- set listing = namespace(text='') -%}
{%- for tool in tools -%}{%- set listing.text = listing.text ~ tool | tojson(indent=4) ~ '\\n\\n' -%}{%- endfor -%}
{{- turn('user', 'Given the following functions, please respond with a JSON for a function call.\\n\\n' ~ listing.text ~ message.content | trim) -}}
{%- elif message.role == 'assistant' -%}
{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}
{%- generation -%}{{- message.content | trim ~ '<|eot_id|>' -}}{%- endgeneration -%}
{%- else -%}
{{- turn(message.role, (message.content if message.content is string else message.content | selectattr('type', 'equalto', 'text') | map(attribute='text') | join('')) | trim) -}}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}{%- endif -%}""",
    # Tools stand before the last question only; calls and results have ids of nine letters.
    "mistral": """{%- set talk = messages[1:] if messages[0]['role'] == 'system' else messages -%}
{%- set questions = talk | selectattr('role', 'equalto', 'user') | list -%}
{%- set count = namespace(turns=0) -%}
{%- for m in talk if m.role in ['user', 'assistant'] and not m.tool_calls -%}
{%- if (m.role == 'user') != (count.turns is divisibleby(2)) -%}{{- raise_exception('After the optional system message, conversation roles must alternate user/assistant/user/assistant/...') -}}{%- endif -%}
{%- set count.turns = count.turns + 1 -%}
{%- endfor -%}
{{- bos_token -}}
{%- for m in talk -%}
{%- if m.role == 'user' -%}
{%- if tools and m == questions | last -%}[AVAILABLE_TOOLS] {{ tools | tojson }}[/AVAILABLE_TOOLS]{%- endif -%}
{{- '[INST] ' -}}
{%- if loop.last and messages[0]['role'] == 'system' -%}{{- messages[0]['content'] + '\\n\\n' -}}{%- endif -%}
{%- if m.content is string -%}{{- m.content -}}{%- else -%}{%- for part in m.content -%}{%- if part.type == 'text' -%}{{- part.text -}}{%- else -%}[IMG]{%- endif -%}{%- endfor -%}{%- endif -%}
{{- '[/INST]' -}}
{%- elif m.tool_calls -%}
{{- '[TOOL_CALLS] [' -}}
{%- for call in m.tool_calls -%}
{%- if not call.id or call.id | length != 9 -%}{{- raise_exception('Tool call IDs should be alphanumeric strings with length 9!') -}}{%- endif -%}
{{- (call.function | tojson)[:-1] ~ ', "id": "' ~ call.id ~ '"}' -}}{{- ', ' if not loop.last else ']' ~ eos_token -}}
{%- endfor -%}
{%- elif m.role == 'assistant' -%}
{{- ' ' + m.content | trim + eos_token -}}
{%- elif m.role in ('tool', 'tool_results') -%}
[TOOL_RESULTS] {"content": {{ m.content | string }}, "call_id": "{{ m.tool_call_id }}"}[/TOOL_RESULTS]
{%- else -%}
{{- raise_exception('Only user and assistant roles are supported, with the exception of an initial optional system message!') -}}
{%- endif -%}
{%- endfor -%}""",
    # A system text of its own when none is given; consecutive results of tools share one turn.
    "qwen2_5": """{%- set first = messages[0] -%}
{%- set system = first.content if first.role == 'system' else 'You are Qwen, created by Alibaba Cloud. You are a helpful assistant.' -%}
{{- '<|im_start|>system\\n' + system -}}
{%- if tools -%}
{{- '\\n\\n# Tools\\n\\nYou may call one or more functions to assist with the user query.\\n\\nYou are provided with function signatures within <tools></tools> XML tags:\\n<tools>' -}}
{%- for tool in tools %}{{ '\\n' ~ tool | tojson }}{% endfor -%}
{{- '\\n</tools>\\n\\nFor each function call, return a json object with function name and arguments within <tool_call></tool_call> XML tags:\\n<tool_call>\\n{"name": <function-name>, "arguments": <args-json-object>}\\n</tool_call>' -}}
{%- endif -%}
{{- '<|im_end|>\\n' -}}
{%- for message in messages -%}
{%- if message.role == 'user' or (message.role == 'system' and not loop.first) or (message.role == 'assistant' and not message.tool_calls) -%}
{{- '<|im_start|>' + message.role + '\\n' ~ message.content ~ '<|im_end|>\\n' -}}
{%- elif message.role == 'assistant' -%}
{{- '<|im_start|>' + message.role -}}
{%- if message.content -%}{{- '\\n' + message.content -}}{%- endif -%}
{%- for call in message.tool_calls -%}
{%- if call.function is defined -%}{%- set call = call.function -%}{%- endif -%}
{{- '\\n<tool_call>\\n{"name": "' -}}{{- call.name -}}{{- '", "arguments": ' -}}{{- call.arguments | tojson -}}{{- '}\\n</tool_call>' -}}
{%- endfor -%}
{{- '<|im_end|>\\n' -}}
{%- elif message.role == 'tool' -%}
{%- if loop.previtem is not defined or loop.previtem.role != 'tool' -%}{{- '<|im_start|>user' -}}{%- endif -%}
{{- '\\n<tool_response>\\n' + message.content + '\\n</tool_response>' -}}
{%- if loop.nextitem is undefined or loop.nextitem.role != 'tool' -%}{{- '<|im_end|>\\n' -}}{%- endif -%}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}""",
    # The assistant is called the model, and there is no system text.
    "gemma": """{{ bos_token }}{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}
{%- for message in messages %}
    {%- if (loop.index0 % 2 != ['user', 'assistant'].index(message.role) if message.role in ['user', 'assistant'] else true) %}
        {{- raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}
    {%- endif %}
    {%- set role = {'assistant': 'model'}.get(message.role, message.role) %}
    {{- '<start_of_turn>' ~ role ~ '\\n' ~ (message.content | trim) ~ '<end_of_turn>\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}""",
    "phi3": """{% for message in messages %}
{% if message.role not in ('system', 'user', 'assistant') %}
{{ raise_exception('no role ' ~ message.role) }}
{% endif %}
{{ '<|%s|>'.replace('%s', message.role) ~ '\\n' }}
{%- generation %}{{ message.content if message.role == 'assistant' }}{% endgeneration %}
{{- message.content if message.role != 'assistant' }}{{ '<|end|>\\n' }}
{%- endfor %}
{{ '<|assistant|>\\n' if add_generation_prompt else eos_token }}""",
    # The prompt for an answer is made inside of the loop.
    "zephyr": """{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>\\n' }}{% generation %}{{ message['content'] + eos_token }}{% endgeneration %}

{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}""",
    # Thoughts of past answers are left out; what tools say is marked, first and last.
    "deepseek": """{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif -%}
{% set ns = namespace(system='', in_tools=false, open_calls=false) -%}
{% for message in messages if message['role'] == 'system' %}{% set ns.system = ns.system + ('\\n\\n' if ns.system else '') + message['content'] %}{% endfor -%}
{{ bos_token }}{{ ns.system -}}
{% for message in messages -%}
{% if message['role'] == 'user' %}{% set ns.in_tools = false %}{{ '<｜User｜>' ~ message['content'] }}
{%- elif message['role'] == 'assistant' and message['tool_calls'] is defined and message['tool_calls'] is not none -%}
{% for tool in message['tool_calls'] -%}
{{ ('<｜Assistant｜><｜tool▁calls▁begin｜>' if loop.first else '\\n') ~ '<｜tool▁call▁begin｜>' ~ tool['type'] ~ '<｜tool▁sep｜>' ~ tool['function']['name'] + '\\n```json\\n' + (tool['function']['arguments'] | tojson) + '\\n```<｜tool▁call▁end｜>' }}
{%- endfor %}{{ '<｜tool▁calls▁end｜><｜end▁of▁sentence｜>' }}
{%- elif message['role'] == 'assistant' -%}
{% if ns.in_tools %}{{ '<｜tool▁outputs▁end｜>' }}{% set ns.in_tools = false %}{% else %}{{ '<｜Assistant｜>' }}{% endif -%}
{% set content = message['content'] -%}
{% if '</think>' in content %}{% set content = content.split('</think>')[-1].lstrip() %}{% endif %}{{ content + '<｜end▁of▁sentence｜>' }}
{%- elif message['role'] == 'tool' -%}
{{ ('\\n' if ns.in_tools else '<｜tool▁outputs▁begin｜>') + '<｜tool▁output▁begin｜>' + message['content'] + '<｜tool▁output▁end｜>' }}{% set ns.in_tools = true %}
{%- endif -%}
{%- endfor -%}
{% if ns.in_tools %}{{ '<｜tool▁outputs▁end｜>' }}{% elif add_generation_prompt %}{{ '<｜Assistant｜><think>\\n' }}{% endif %}""",
}
