"""What openai-python, litellm and LangChain make of `loopnn serve`. Prints a line for each check; exits 1 where one fails.

    python -m venv venv && venv/bin/pip install openai 'litellm==1.110.*' langchain-openai
    venv/bin/python test/serve/check_clients.py RUN          # a folder of `loopnn train`; after `npm run build`

Tried with openai-python 3.57, litellm 1.110.2 and langchain-openai 1.7.4 on Python 3.11.
"""

import json
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
ROOT = Path(__file__).resolve().parents[2]
FAILED = []


def check(what, found, expected=True):
    same = found == expected
    print(("ok    " if same else "WRONG ") + what + ("" if same else f": {found!r}, not {expected!r}"))
    if not same:
        FAILED.append(what)


def raised(call):
    try:
        call()
    except Exception as error:
        return error
    return None


def openai_python(base, block):
    from openai import BadRequestError, NotFoundError, OpenAI

    client = OpenAI(base_url=f"{base}/v1", api_key="none", max_retries=0)
    options = {"model": "toy", "prompt": "the same", "max_tokens": 4, "temperature": 0}
    plain = client.completions.create(**options)
    check("openai: a completion", (plain.usage.completion_tokens <= 4, plain.model), (True, "toy"))
    streamed = "".join(chunk.choices[0].text for chunk in client.completions.create(**options, stream=True))
    check("openai: a stream has the same text", streamed, plain.choices[0].text)
    echo = client.completions.create(**{**options, "max_tokens": 0}, echo=True, logprobs=1)
    check("openai: echo", (echo.choices[0].text, echo.choices[0].logprobs.token_logprobs[0]), ("the same", None))
    for extra in [{"top_k": 0}, {"top_k": -1}, {"min_p": 0}, {"repetition_penalty": 1.0}]:
        same = client.completions.create(**options, extra_body=extra).choices[0].text
        check(f"openai: {extra} is off", same, plain.choices[0].text)
    chat = {"model": "toy", "messages": [{"role": "user", "content": "Hi"}], "max_completion_tokens": 3}
    with client.chat.completions.stream(**chat) as stream:
        kinds = {event.type for event in stream}
    check("openai: the helper for chat streams", kinds >= {"chunk", "content.delta"})
    slash = OpenAI(base_url=f"{base}/v1/", api_key="none").chat.completions.create(**chat)
    check("openai: a base address with a slash", len(slash.choices), 1)
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
    error = raised(lambda: client.chat.completions.create(**chat, tools=tools))
    check("openai: tools", (type(error), "does not support tools" in str(error)), (BadRequestError, True))
    error = raised(lambda: client.responses.create(model="toy", input="x"))
    check("openai: responses", (type(error), "/v1/chat/completions" in str(error)), (NotFoundError, True))


def litellm_client(base, block):
    import litellm

    options = {"model": "openai/toy", "api_base": f"{base}/v1", "api_key": "none", "num_retries": 0}
    messages = [{"role": "user", "content": "Hi"}]
    answer = litellm.completion(messages=messages, max_tokens=3, **options)
    check("litellm: a chat", answer.choices[0].message.role, "assistant")
    pieces = [chunk.choices[0].delta.content or "" for chunk in litellm.completion(messages=messages, max_tokens=3, stream=True, temperature=0, **options)]
    whole = litellm.completion(messages=messages, max_tokens=3, temperature=0, **options).choices[0].message.content
    check("litellm: a stream has the same text", "".join(pieces), whole)
    long = [{"role": "user", "content": "word " * (4 * block)}]
    error = raised(lambda: litellm.completion(messages=long, **options))
    check("litellm: too long a prompt", type(error).__name__, "ContextWindowExceededError")
    text = litellm.text_completion(prompt="the same", max_tokens=2, **{**options, "model": "text-completion-openai/toy"})
    check("litellm: a completion", len(text.choices), 1)


def langchain(base, block):
    from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
    from langchain_openai import ChatOpenAI

    model = ChatOpenAI(model="toy", base_url=f"{base}/v1", api_key="none", max_tokens=3, temperature=0, max_retries=0)
    whole = model.invoke("Hi")
    check("langchain: a chat", whole.usage_metadata["output_tokens"] <= 3)
    check("langchain: a stream has the same text", "".join(chunk.content for chunk in model.stream("Hi")), whole.content)
    free = ChatOpenAI(model="toy", base_url=f"{base}/v1", api_key="none", max_tokens=-1, max_retries=0)
    check("langchain: max_tokens -1", free.invoke("Hi").usage_metadata["output_tokens"] > 0)
    many = ChatOpenAI(model="toy", base_url=f"{base}/v1", api_key="none", max_tokens=3, stop_sequences=[f"stop {i}" for i in range(20)])
    check("langchain: twenty stop texts", many.invoke("Hi").usage_metadata["output_tokens"] > 0)
    call = {"name": "f", "args": {"a": 1}, "id": "1"}
    history = [HumanMessage("2?"), AIMessage("", tool_calls=[call]), ToolMessage("4", tool_call_id="1"), HumanMessage("And?")]
    check("langchain: a history of tools", model.invoke(history).usage_metadata["input_tokens"] > 0)
    error = raised(lambda: model.bind_tools([{"name": "f", "description": "", "parameters": {"type": "object", "properties": {}}}]).invoke("Hi"))
    check("langchain: tools", "does not support tools" in str(error))


def main(run):
    command = ["node", str(ROOT / "dist/src/cli/main.js"), "serve", "--model", run, "--port", "0", "--model-name", "toy"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        for line in server.stderr:
            if match := re.search(r"listening on (\S+)", line):
                base = match[1]
            if "is loaded" in line:
                break
        block = json.load(urllib.request.urlopen(f"{base}/tokenizer_info"))["model_max_length"]
        for clients in [openai_python, litellm_client, langchain]:
            clients(base, block)
    finally:
        server.terminate()
    sys.exit(1 if FAILED else 0)


if __name__ == "__main__":
    main(sys.argv[1])
