"""A sequence-to-sequence model (NLLB-200 or M2M100) that translates English texts into one language."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stilts.errors import UserError
from stilts.translation.codes import SOURCE, WITHOUT_BLANKS, find_codes, find_token, list_code_tokens, load_tokenizer
from stilts.translation.sentences import Stretch, find_middle, split_sentences

if TYPE_CHECKING:
    import torch

# Source tokens of one batch, with padding, times beams.
BATCH_TOKENS = 8192
# A translation with more tokens than this x its source's + that repeats itself without end.
LONGEST_RATIO, LONGEST_ADDED = 3, 32

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Translated:
    """A translation, and for each piece of the source (a sentence, mostly) its stretch there and in `text`."""

    text: str
    pieces: tuple[tuple[Stretch, Stretch], ...]


@dataclass
class Usage:
    """What has been translated so far; target tokens without specials. `unfinished`: pieces cut at the longest length;
    `empty`: pieces whose translation has no character."""

    source_tokens: int = 0
    target_tokens: int = 0
    pieces: int = 0
    unfinished: int = 0
    empty: int = 0


class Translator:
    """English into `language` (ISO 639-1), the best token at each step or `beams` kept, never a random one.

    float32 on a CPU and float16 on a GPU. `max_length`: tokens of a piece and of its translation.
    Raises UserError: no such model in the folder, or one that lacks the language.
    """

    def __init__(
        self,
        folder: Path,
        language: str,
        device: torch.device,
        beams: int = 1,
        max_length: int = 256,
        batch_tokens: int = BATCH_TOKENS,
    ) -> None:
        import torch
        from transformers import AutoModelForSeq2SeqLM, GenerationConfig

        from stilts.model.encoder import quiet_transformers

        self._tokenizer = load_tokenizer(folder)
        codes = find_codes(self._tokenizer, folder, (SOURCE, language))
        self._tokenizer.src_lang = codes[SOURCE]
        self._first_token = find_token(self._tokenizer, codes[language])
        self._codes = list_code_tokens(self._tokenizer)
        dtype = torch.float16 if device.type == "cuda" else torch.float32
        try:
            with quiet_transformers():
                model = AutoModelForSeq2SeqLM.from_pretrained(
                    folder, dtype=dtype, local_files_only=True, use_safetensors=True
                )
        except (OSError, ValueError) as error:
            raise UserError(f"{folder}: no translation model can be loaded: {str(error).splitlines()[0]}") from None
        positions = getattr(model.config, "max_position_embeddings", max_length)
        if max_length > positions:
            raise UserError(
                f"translation max_length {max_length}: the model in {folder} has {positions} positions; set "
                f"`translation: {{max_length: ...}}` to {positions} at most"
            )
        start = model.generation_config.decoder_start_token_id
        self._start = self._end if start is None else int(start)
        # All that shapes the search stands below, and nothing of it is left to what the folder brings along.
        model.generation_config = GenerationConfig()
        self._model = model.to(device).eval()
        self.language, self.dtype, self.usage = language, str(dtype).removeprefix("torch."), Usage()
        self._beams, self._max_length, self._batch_tokens = beams, max_length, batch_tokens

    def translate(self, texts: Sequence[str], progress: Progress | None = None) -> list[Translated]:
        """Every text sentence by sentence; the white space between two sentences stays (none in Chinese, Japanese).

        `progress` is called with the pieces done and all pieces. Equal pieces are translated once.
        """
        cuts = self._cut(texts)
        pieces = list(
            dict.fromkeys(text[start:end] for text, cut in zip(texts, cuts, strict=True) for start, end in cut)
        )
        found = dict(zip(pieces, self._translate_pieces(pieces, progress or (lambda done, total: None)), strict=True))
        return [self._join(text, cut, found) for text, cut in zip(texts, cuts, strict=True)]

    def _cut(self, texts: Sequence[str]) -> list[list[Stretch]]:
        """Sentences of each text; one that is too long for the model is halved until its pieces are not."""
        cuts = [split_sentences(text) for text in texts]
        places = [(number, stretch) for number, cut in enumerate(cuts) for stretch in cut]
        lengths = self._count([texts[number][start:end] for number, (start, end) in places])
        long = {place for place, length in zip(places, lengths, strict=True) if length > self._max_length}
        return [
            [piece for at in cut for piece in (self._halve(texts[number], *at) if (number, at) in long else [at])]
            for number, cut in enumerate(cuts)
        ]

    def _halve(self, text: str, start: int, end: int) -> Iterator[Stretch]:
        if end - start < 2 or self._count([text[start:end]])[0] <= self._max_length:
            yield start, end
            return
        first_end, second_start = find_middle(text, start, end)
        yield from self._halve(text, start, first_end)
        yield from self._halve(text, second_start, end)

    def _count(self, pieces: Sequence[str]) -> list[int]:
        return [len(ids) for ids in self._encode(pieces)]

    def _encode(self, pieces: Sequence[str]) -> list[list[int]]:
        return list(self._tokenizer(list(pieces))["input_ids"]) if pieces else []

    def _translate_pieces(self, pieces: Sequence[str], progress: Progress) -> list[str]:
        """Longest first: what does not fit into memory shows at once."""
        ids = self._encode(pieces)
        order = sorted(range(len(ids)), key=lambda number: -len(ids[number]))
        results, done = [""] * len(pieces), 0
        for batch in self._make_batches(order, ids):
            for number, text in zip(batch, self._generate([ids[number] for number in batch]), strict=True):
                results[number] = text
            done += len(batch)
            progress(done, len(pieces))
        self.usage.pieces += len(pieces)
        self.usage.empty += sum(not text for text in results)
        return results

    def _make_batches(self, order: Sequence[int], ids: Sequence[Sequence[int]]) -> Iterator[list[int]]:
        batch: list[int] = []
        for number in order:
            # The first of a batch is its longest: all are padded to it.
            if batch and len(ids[batch[0]]) * (len(batch) + 1) * self._beams > self._batch_tokens:
                yield batch
                batch = []
            batch.append(number)
        if batch:
            yield batch

    def _generate(self, batch: Sequence[Sequence[int]]) -> list[str]:
        import torch

        try:
            return self._generate_batch(batch)
        except torch.OutOfMemoryError:
            if len(batch) == 1:
                raise
        torch.cuda.empty_cache()
        half = (len(batch) + 1) // 2
        return self._generate(batch[:half]) + self._generate(batch[half:])

    def _generate_batch(self, batch: Sequence[Sequence[int]]) -> list[str]:
        import torch

        inputs = self._tokenizer.pad({"input_ids": list(batch)}, return_tensors="pt").to(self._model.device)
        longest = min(self._max_length, LONGEST_RATIO * len(batch[0]) + LONGEST_ADDED)
        with torch.inference_mode():
            outputs = self._model.generate(
                input_ids=inputs["input_ids"],
                attention_mask=inputs["attention_mask"],
                generation_config=self._make_settings(longest),
            )
        # In front stand the decoder's start and the language.
        rows = [row[2:] for row in outputs.tolist()]
        ends = [row.index(self._end) if self._end in row else None for row in rows]
        kept = [[token for token in row[:end] if token not in self._codes] for row, end in zip(rows, ends, strict=True)]
        self.usage.source_tokens += sum(map(len, batch))
        self.usage.target_tokens += sum(map(len, kept))
        self.usage.unfinished += ends.count(None)
        return [self._tokenizer.decode(row, skip_special_tokens=True).strip() for row in kept]

    @property
    def _end(self) -> int:
        return int(self._tokenizer.eos_token_id)

    def _make_settings(self, longest: int) -> Any:
        from transformers import GenerationConfig

        return GenerationConfig(
            max_new_tokens=longest,
            num_beams=self._beams,
            do_sample=False,
            early_stopping=self._beams > 1,  # as in the published configurations of both models
            length_penalty=1.0,
            decoder_start_token_id=self._start,
            forced_bos_token_id=self._first_token,
            eos_token_id=self._end,
            pad_token_id=self._tokenizer.pad_token_id,
        )

    def _join(self, text: str, cut: Sequence[Stretch], found: dict[str, str]) -> Translated:
        joined, pieces, previous = "", [], None
        for start, end in cut:
            gap = "" if previous is None else text[previous:start]
            if self.language in WITHOUT_BLANKS and "\n" not in gap:
                gap = ""
            joined += gap
            place = len(joined)
            joined += found[text[start:end]]
            pieces.append(((start, end), (place, len(joined))))
            previous = end
        return Translated(joined, tuple(pieces))
