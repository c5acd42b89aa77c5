"""The OpenAI Agents SDK's Runner, streamed, with its SQLAlchemySession on asyncpg. Its tracing is off."""

from __future__ import annotations

from functools import cache
from typing import Any
from uuid import UUID

from agents import Agent, ModelSettings, OpenAIChatCompletionsModel, RunConfig, Runner, function_tool
from agents.extensions.memory import SQLAlchemySession
from sqlalchemy.ext.asyncio import create_async_engine

from benchmarks.loops.loop import Loop
from benchmarks.loops.tools import TOOLS
from benchmarks.peers.sqlalchemy_url import sqlalchemy_url
from benchmarks.systems import CONNECTIONS, POOL_SECONDS

_CONFIG = RunConfig(tracing_disabled=True)


class OpenaiAgentsLoop(Loop):
    """One engine a process."""

    name = "openai-agents, Runner"
    per_delta = "nothing"
    per_message = "the question before the first request, and the items of each request after it"

    async def start(self) -> None:
        url = sqlalchemy_url(self.url)
        self._engine = create_async_engine(url, pool_size=CONNECTIONS, max_overflow=0, pool_timeout=POOL_SECONDS)
        await SQLAlchemySession("tables", engine=self._engine, create_tables=True).get_items()
        self._agent = cache(self._new_agent)

    async def stop(self) -> None:
        await self._engine.dispose()
        await super().stop()

    def _new_agent(self, model: str) -> Any:
        return Agent(
            name="bench",
            model=OpenAIChatCompletionsModel(model=model, openai_client=self.client),
            model_settings=ModelSettings(include_usage=True),
            tools=[function_tool(tool) for tool in TOOLS.values()],
        )

    def _session(self, conversation: UUID) -> Any:
        return SQLAlchemySession(str(conversation), engine=self._engine)

    async def answer(self, conversation: UUID, question: str, model: str) -> str:
        running: Any = Runner.run_streamed(
            self._agent(model), question, session=self._session(conversation), run_config=_CONFIG
        )
        shown = list[str]()
        async for event in running.stream_events():
            if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
                shown.append(event.data.delta)
        return "".join(shown)

    async def last_answer(self, conversation: UUID) -> str:
        items = await self._session(conversation).get_items()
        return "".join(part["text"] for part in items[-1]["content"])
