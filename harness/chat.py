"""Chat templates: a conversation as the text that a model was trained to continue.

Messages in, one string out; knows nothing of tokens or models. The text equals, character for
character, what `apply_chat_template(..., tokenize=False)` of transformers gives for the same
template, with two deviations that a run needs: the date is fixed, so that a run can be repeated
next week, and a template that drops the system message or the question is an error.
Source: https://huggingface.co/docs/transformers/chat_templating
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from hashlib import sha256
from typing import Any

from jinja2 import TemplateError, TemplateSyntaxError
from jinja2.exceptions import SecurityError

from harness.prompts import Message
from harness.template_sandbox import MAX_CHARS, TemplateSandbox
from metrics.errors import WeighinError

TEMPLATE_DATE = date(2024, 7, 26)
"""What a template is told as today: the date that Llama 3's own template falls back to."""

_PREFILL_END = "END_OF_THE_PREFILL_OF_WEIGHIN "


class ChatTemplateError(WeighinError):
    """A chat template that cannot be used, or a conversation that it does not take."""


class ChatTemplate:
    """A model's chat template, compiled once and rendered for each prompt."""

    def __init__(
        self,
        source: str,
        *,
        bos_token: str | None = None,
        eos_token: str | None = None,
        extra_tokens: Mapping[str, str] | None = None,
        today: date = TEMPLATE_DATE,
    ) -> None:
        """Compile a template.

        Args:
            source: The Jinja text, as in a GGUF's `tokenizer.chat_template`.
            bos_token: The token's text, where the vocabulary has one.
            eos_token: The same for the end of a sequence.
            extra_tokens: Other names that the template may use, such as `pad_token`.
            today: What `strftime_now` tells the template; recorded with a run.

        Raises:
            ChatTemplateError: no template, a syntax error (its line is named), or a template that
                reaches for Python's internals.
        """
        if not source.strip():
            raise ChatTemplateError(
                "the model has no chat template; name a file that holds one with --chat-template"
            )
        self.source = source
        self.today = today
        tokens = {"bos_token": bos_token, "eos_token": eos_token, **(extra_tokens or {})}
        self._tokens = {name: text for name, text in tokens.items() if text is not None}
        self._sandbox = TemplateSandbox(now=datetime.combine(today, time()))
        try:
            self._template = self._sandbox.from_string(source)
        except SecurityError as error:
            raise _refused(error) from error
        except TemplateSyntaxError as error:
            raise ChatTemplateError(
                f"the chat template has a syntax error in line {error.lineno}: {error.message}"
            ) from error
        except (RecursionError, SyntaxError, ValueError, OverflowError) as error:
            raise ChatTemplateError(f"the chat template does not compile: {error}") from error

    @property
    def sha256(self) -> str:
        """Hash of the template's text."""
        return sha256(self.source.encode()).hexdigest()

    def render(
        self, messages: Sequence[Message], *, thinking: bool = False, prefill: str | None = None
    ) -> str:
        """Write a conversation out, up to where the model goes on.

        Args:
            messages: An optional system message, then user and assistant in turn.
            thinking: Passed to the template as `enable_thinking` and as `thinking`, the two names
                in use; a template without either ignores it.
            prefill: The beginning of the answer, already given: the text ends with it, inside the
                assistant's turn (transformers' `continue_final_message`). None opens the turn.

        Returns:
            The prompt, with its BOS token wherever the template writes one; so it is tokenised
            with special tokens recognised and none added.

        Raises:
            ChatTemplateError: the template refuses the conversation, leaves the system message or
                the question out, fails, or goes beyond the sandbox.
        """
        chat = [{"role": message.role, "content": message.content} for message in messages]
        if prefill is not None:
            chat.append({"role": "assistant", "content": prefill + _PREFILL_END})
        text = self._run(
            messages=chat,
            add_generation_prompt=prefill is None,
            enable_thinking=thinking,
            thinking=thinking,
        )
        for message in messages:
            if message.role == "system" and message.content.strip() not in text:
                raise ChatTemplateError(
                    "the chat template drops the system message; put its text into the first user "
                    "message, or use another template"
                )
        if messages[-1].content.strip() not in text:
            raise ChatTemplateError(
                "the chat template drops the user's text (it may want content in typed parts, as "
                "for images); use a template for plain text"
            )
        return text if prefill is None else _cut_after_prefill(text, prefill)

    def _run(self, **variables: Any) -> str:
        self._sandbox.start()
        pieces: list[str] = []
        n_chars = 0
        try:
            for piece in self._template.generate(
                tools=None, documents=None, **self._tokens, **variables
            ):
                pieces.append(piece)
                n_chars += len(piece)
                if n_chars > MAX_CHARS:
                    raise SecurityError(f"it writes more than {MAX_CHARS} characters")
        except SecurityError as error:
            raise _refused(error) from error
        except TemplateError as error:
            raise ChatTemplateError(
                f"the chat template does not take this conversation: {error}"
            ) from error
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise ChatTemplateError(
                f"the chat template fails: {type(error).__name__}: {error}"
            ) from error
        except RecursionError as error:
            raise ChatTemplateError("the chat template calls itself without end") from error
        return "".join(pieces)


def _refused(error: SecurityError) -> ChatTemplateError:
    return ChatTemplateError(
        f"the chat template is refused, since it leaves its sandbox: {error}; "
        "name another with --chat-template"
    )


def _cut_after_prefill(text: str, prefill: str) -> str:
    """End a rendered conversation where its last message, the prefill, ends.

    Templates trim messages or keep their spaces; what this template did to the space behind the
    marker, it would have done to the prefill's own.
    """
    mark = _PREFILL_END.rstrip()
    if mark not in text or prefill.strip() not in text:
        raise ChatTemplateError("the chat template does not show the prefill; start without one")
    end = text.rindex(mark)
    kept = text[:end]
    return kept if text.startswith(_PREFILL_END, end) else kept.rstrip()
