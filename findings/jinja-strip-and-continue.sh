#!/usr/bin/env bash
# @huggingface/jinja 0.5.11 (npm), which renders chat templates in JavaScript, against jinja2 3.1.6 (pip), which transformers uses.
#
# Two things are rendered otherwise, and nothing says so:
# - text.strip('\n'), lstrip and rstrip take the characters to strip in Python; in JavaScript the argument is ignored, and all
#   white space goes. Templates of reasoning models strip '\n' between thoughts and answer: an indented answer loses its indent.
# - {% continue %} and {% break %} keep what the iteration has written in Python; in JavaScript it is lost.
#
# Output seen (Python 3.11, Node 20.20):
#   python:     [{"strip": "  indented"}, {"continue": "1-23-"}, {"break": "12"}]
#   javascript: [{"strip": "indented"}, {"continue": "1-3-"}, {"break": "1"}]
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

cat > templates.json <<'JSON'
{
  "strip": "{{ answer.strip('\\n') }}",
  "continue": "{% for i in [1, 2, 3] %}{{ i }}{% if i == 2 %}{% continue %}{% endif %}-{% endfor %}",
  "break": "{% for i in [1, 2, 3] %}{{ i }}{% if i == 2 %}{% break %}{% endif %}{% endfor %}"
}
JSON
cat > render.py <<'PY'
import json
from jinja2.sandbox import ImmutableSandboxedEnvironment
environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
templates = json.load(open("templates.json"))
print(json.dumps([{name: environment.from_string(text).render(answer="\n\n  indented\n")} for name, text in templates.items()]))
PY
cat > render.mjs <<'JS'
import { readFileSync } from 'node:fs';
import { Template } from '@huggingface/jinja';
const templates = Object.entries(JSON.parse(readFileSync('templates.json', 'utf8')));
const rendered = templates.map(([name, text]) => ({ [name]: new Template(text).render({ answer: '\n\n  indented\n' }) }));
console.log(`[${rendered.map((one) => JSON.stringify(one).replace(':', ': ')).join(', ')}]`);
JS

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check jinja2==3.1.6
npm init --yes >/dev/null
npm install --silent --no-audit --no-fund @huggingface/jinja@0.5.11

python=$(venv/bin/python render.py)
javascript=$(node render.mjs)
echo "python:     $python"
echo "javascript: $javascript"
[ "$python" = '[{"strip": "  indented"}, {"continue": "1-23-"}, {"break": "12"}]' ]
[ "$javascript" = '[{"strip": "indented"}, {"continue": "1-3-"}, {"break": "1"}]' ]
