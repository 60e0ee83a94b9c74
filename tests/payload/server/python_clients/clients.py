"""Talk to the server as programs do: ``python clients.py URL URL_OF_THE_CALLING_MODEL``.

Prints one JSON object, name -> what the client saw, or ``{"error": words}``.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from typing import Any, Literal

import litellm
import ollama
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_ollama import ChatOllama
from langchain_openai import ChatOpenAI
from pydantic import BaseModel
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

MODEL = "chatglm3-6b"
LENGTH = 12
LONGER = 200
results: dict[str, Any] = {}


def note(name: str, work: Callable[[], Any]) -> None:
    """Note what ``work`` returns, or how it failed."""
    try:
        results[name] = work()
    except Exception as error:
        results[name] = {"error": str(error), "type": type(error).__name__}


@tool
def f(a: int) -> str:
    """Tell the weather."""
    return "晴"


class Trip(BaseModel):
    """A form that even random weights fill soon."""

    city: Literal["北京", "上海"]
    direct: bool


def langchain(name: str, chat: Any, longer: Any, calling: Any) -> None:
    note(f"{name} whole", lambda: chat.invoke("Hi").text)
    note(f"{name} stream", lambda: "".join(part.text for part in chat.stream("Hi")))
    with_tools = calling.bind_tools([f])
    note(f"{name} tool", lambda: [[call["name"], call["args"]] for call in with_tools.invoke("Hi").tool_calls])
    called = AIMessage("", tool_calls=[{"name": "f", "args": {"a": 1}, "id": "call_1"}])
    history = [HumanMessage("Hi"), called, ToolMessage("晴", tool_call_id="call_1")]
    note(f"{name} tool history", lambda: chat.bind_tools([f]).invoke(history).text)
    note(f"{name} form", lambda: longer.with_structured_output(Trip).invoke("Hi").model_dump())


def with_ollama(url: str, calling_url: str) -> None:
    client = ollama.Client(host=url)
    messages = [{"role": "user", "content": "Hi"}]
    options = {"temperature": 0, "num_predict": LENGTH}
    note("ollama list", lambda: [model.model for model in client.list().models])
    note("ollama ps", lambda: [model.model for model in client.ps().models])
    note("ollama show", lambda: client.show(MODEL).capabilities)
    note("ollama whole", lambda: client.chat(MODEL, messages, options=options).message.content)
    note(
        "ollama stream",
        lambda: "".join(
            part.message.content or "" for part in client.chat(MODEL, messages, options=options, stream=True)
        ),
    )
    note("ollama generate", lambda: client.generate(MODEL, "Hi", options=options).response)
    calling = ollama.Client(host=calling_url)

    def call(stream: bool) -> Any:
        answer = calling.chat(MODEL, messages, tools=[f.func], options={"temperature": 0}, stream=stream)
        parts = answer if stream else [answer]
        calls = [call for part in parts for call in part.message.tool_calls or ()]
        return [[call.function.name, dict(call.function.arguments)] for call in calls]

    note("ollama tool", lambda: call(stream=False))
    note("ollama tool stream", lambda: call(stream=True))
    note("ollama embed", lambda: client.embed(MODEL, "Hi"))
    form = Trip.model_json_schema()
    longer = {**options, "num_predict": LONGER}
    note("ollama form", lambda: json.loads(client.chat(MODEL, messages, format=form, options=longer).message.content))


def with_litellm(url: str) -> None:
    for name, base in (("openai", f"{url}/v1"), ("lm_studio", f"{url}/v1"), ("ollama_chat", url)):
        shared: dict[str, Any] = {
            "model": f"{name}/{MODEL}",
            "api_base": base,
            "api_key": "any",
            "messages": [{"role": "user", "content": "Hi"}],
            "temperature": 0,
            "max_tokens": LENGTH,
        }
        note(f"litellm {name} whole", lambda sent=shared: litellm.completion(**sent).choices[0].message.content)
        note(
            f"litellm {name} stream",
            lambda sent=shared: "".join(
                part.choices[0].delta.content or "" for part in litellm.completion(**sent, stream=True)
            ),
        )


def with_pydantic_ai(url: str) -> None:
    provider = OpenAIProvider(base_url=f"{url}/v1", api_key="any")
    settings: Any = {"temperature": 0, "max_tokens": LENGTH}
    for name, kind in (("chat", OpenAIChatModel), ("responses", OpenAIResponsesModel)):
        agent = Agent(kind("gpt-4o", provider=provider), model_settings=settings)
        note(f"pydantic-ai {name}", lambda agent=agent: agent.run_sync("Hi").output)
        longer: Any = {"temperature": 0, "max_tokens": LONGER}
        planner = Agent(kind("gpt-4o", provider=provider), model_settings=longer, output_type=Trip)
        note(f"pydantic-ai {name} form", lambda agent=planner: agent.run_sync("Hi").output.model_dump())


def main() -> None:
    url, calling_url = sys.argv[1:]
    warnings.simplefilter("ignore")
    greedy: dict[str, Any] = {"temperature": 0, "max_retries": 0, "api_key": "any"}
    for name, more in (("langchain-openai", {}), ("langchain-openai responses", {"use_responses_api": True})):
        chat = ChatOpenAI(model="gpt-4o", base_url=f"{url}/v1", max_tokens=LENGTH, **greedy, **more)
        longer = ChatOpenAI(model="gpt-4o", base_url=f"{url}/v1", max_tokens=LONGER, **greedy, **more)
        langchain(name, chat, longer, ChatOpenAI(model="gpt-4o", base_url=f"{calling_url}/v1", **greedy, **more))
    langchain(
        "langchain-ollama",
        ChatOllama(model=MODEL, base_url=url, temperature=0, num_predict=LENGTH),
        ChatOllama(model=MODEL, base_url=url, temperature=0, num_predict=LONGER),
        ChatOllama(model=MODEL, base_url=calling_url, temperature=0),
    )
    with_ollama(url, calling_url)
    with_litellm(url)
    with_pydantic_ai(url)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
