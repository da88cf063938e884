"""Rows in a model's chat template, against what transformers' own `apply_chat_template` makes of a conversation."""

import json

import pytest
import torch

from chain import chain_model
from cuetune.backbones.text import TextBackbone
from cuetune.data.row import Row
from cuetune.data.task import Task
from cuetune.data.task_inference import infer_task
from cuetune.data.templating import Renderer
from cuetune.errors import CuetuneError
from cuetune.evaluation.evaluate import in_words
from cuetune.methods.instruction_scores import InstructionScorer
from cuetune.prediction.text import Predictor
from cuetune.prompts import SoftPrompt
from cuetune.prompts.words import hard_prompt
from cuetune.readouts import GeneratedText, LabelWords
from tiny import model, rows, tokenizer, write_csv

TURN = "{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}"
TEMPLATES = {
    "ChatML": "{% for m in messages %}"
    + TURN
    + "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "instructions in brackets, a space before answers": "{{ bos_token }}{% for m in messages %}"
    "{% if m['role'] == 'assistant' %}{{ ' ' + m['content'] + ' ' + eos_token }}"
    "{% else %}{{ '[' + m['role'] + '] ' + m['content'] + ' [/]' }}{% endif %}{% endfor %}",
    "no system": "{% for m in messages %}"
    "{% if m['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
    + TURN
    + "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "a thought before answers": "{% for m in messages %}{% if m['role'] == 'assistant' %}"
    "{{ '<|im_start|>assistant\n<think>\n\n</think>\n\n' + m['content'] + '<|im_end|>\n' }}{% else %}"
    + TURN
    + "{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    "contents are trimmed": "{% for m in messages %}"
    "{{ '<|im_start|>' + m['role'] + '\n' + (m['content'] | trim) + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
}
SYSTEM, TEXT = "Tell whether the text is pos or neg.", "good xx <|im_end|> bad"


def chatting(template: str | None = TEMPLATES["ChatML"]):
    words = tokenizer()
    words.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"], "bos_token": "<bos>"})
    words.chat_template = template
    return words


def task_of(words, template: str = "chat", **how) -> Task:
    table = [Row(f"row {n}", {"text": each["text"], "label": each["label"]}) for n, each in enumerate(rows(6))]
    return infer_task(table, template=template, instruction=SYSTEM, tokenizer=words, **how)


def conversation(words, user: str, answer: str, name: str) -> list[int]:
    """The tokens of the whole conversation by transformers, in which no user's text can close a turn."""
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "USER"}]
    if name == "no system":
        messages = [{"role": "user", "content": f"{SYSTEM}\n\nUSER"}]
    whole = words.apply_chat_template([*messages, {"role": "assistant", "content": answer}], tokenize=False)
    before, behind = whole.split("USER")
    ids = [words(part, add_special_tokens=False)["input_ids"] for part in (before, behind)]
    return ids[0] + words(user, add_special_tokens=False, split_special_tokens=True)["input_ids"] + ids[1]


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("message", ["chat", "chat: Text: {text} Which?"])
def test_a_row_is_the_conversation_that_transformers_makes(name, message):
    words = chatting(TEMPLATES[name])
    task = task_of(words, message)
    renderer = Renderer(words, task)
    (row,) = renderer.render([task.example(Row("row", {"text": TEXT, "label": "pos"}))])
    frozen = TextBackbone(chain_model(len(words), []), words, "chat")
    answer = LabelWords(frozen, task).words[task.labels.index("pos")]
    user = TEXT if message == "chat" else f"Text: {TEXT} Which?"
    wanted = conversation(words, user, "pos", name)
    ours = renderer.shared + row.ids + answer
    assert words.convert_ids_to_tokens(ours) == words.convert_ids_to_tokens(wanted[: len(ours)])
    assert words.decode(wanted[len(ours) :]) == task.chat.end


def test_label_words_stand_as_the_model_writes_them():
    plain, spaced = (task_of(chatting(TEMPLATES[name])) for name in list(TEMPLATES)[:2])
    assert plain.label_words == ("neg", "pos")
    assert spaced.label_words == (" neg", " pos")
    given = task_of(chatting(), label_words=[" no", "yes"])
    assert given.label_words == ("no", "yes")


def test_what_closes_a_turn_ends_a_written_answer():
    words = chatting()
    turn = words.convert_tokens_to_ids("<|im_end|>")
    line = words("\n")["input_ids"][0]
    good = words("good")["input_ids"]
    assert len(good) == 1
    frozen = TextBackbone(chain_model(len(words), [(line, good[0]), (good[0], turn), (turn, 40)]), words, "chat")
    task = task_of(words, generate=True)
    assert task.generates
    prompt = SoftPrompt(torch.zeros(1, frozen.width))
    (answer,) = Predictor(frozen, task, prompt).predict([task.example(Row("row", {"text": "x", "label": "good"}))])
    assert (answer.label, answer.unfinished) == ("good", 0)
    readout = GeneratedText(frozen, task)
    (row,) = Renderer(words, task).render([task.example(Row("row", {"text": "x", "label": "good"}))])
    assert readout.answers([row]) == [[*good, words.eos_token_id]]
    assert turn in readout.ends


def test_the_instruction_is_said_once_and_demonstrations_are_whole_conversations():
    words = chatting()
    frozen = TextBackbone(chain_model(len(words), []), words, "chat")
    task = task_of(words)
    shown = [task.example(Row("row", {"text": "xx good", "label": "pos"}))]
    assert hard_prompt(frozen, task).ids == []
    assert hard_prompt(frozen, task, shown).ids == conversation(words, "xx good", "pos", "ChatML")
    assert set(in_words(frozen, task, shown)) == {"zero-shot", "few-shot (k=1)"}


def test_a_task_in_a_chat_template_is_kept_whole():
    task = task_of(chatting())
    assert Task.from_dict(json.loads(json.dumps(task.to_dict()))) == task
    assert "chat" not in Task().to_dict()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (chatting(None), "has no chat template"),
        (chatting("{{ raise_exception('broken template') }}"), "cannot be used .*broken template"),
        (chatting("{% for m in messages %}{{ m['content'] }}{x}{% endfor %}"), "holds {x}, as of a column"),
        (None, "name the model with --model"),
    ],
)
def test_a_chat_template_that_cannot_be_used_is_one_line(words, said):
    with pytest.raises(CuetuneError, match=said) as error:
        task_of(words)
    assert "\n" not in str(error.value)


def test_a_search_for_instructions_does_not_pretend_to_write_the_system_text():
    words = chatting()
    frozen = TextBackbone(chain_model(len(words), []), words, "chat")
    with pytest.raises(CuetuneError, match="where this search writes none"):
        InstructionScorer(frozen, task_of(words), 20)


@pytest.fixture
def folder(tmp_path):
    words = chatting()
    tiny = model("llama")
    tiny.resize_token_embeddings(len(words))
    tiny.save_pretrained(tmp_path / "chat")
    words.save_pretrained(tmp_path / "chat")
    write_csv(tmp_path / "rows.csv", rows(20))
    return tmp_path


def test_the_verbs_take_a_chat_template(folder, cuetune):
    with_model = ("--model", folder / "chat")
    code, said, _ = cuetune("check", folder / "rows.csv", "--template", "chat", *with_model)
    assert code == 0
    assert "[<|im_start|>][s][y][s][t][e][m]" in said
    assert "scored [neg] (neg)" in said or "scored [n][e][g] (neg)" in said
    how = ("--template", "chat", "--steps", 2, "--length", 2, *with_model)
    code, said, _ = cuetune("tune", folder / "rows.csv", "--to", folder / "p", *how)
    assert code == 0, said
    kept = json.loads((folder / "p" / "cuetune.json").read_text())["task"]
    assert kept["template"].startswith(
        "<|im_start|>system\nClassify the text as neg or pos.<|im_end|>\n<|im_start|>user\n"
    )
    assert kept["chat"] == {"lead": "", "end": "<|im_end|>\n"}
    assert cuetune("predict", folder / "p", "--input", "good", *with_model)[0] == 0
    assert cuetune("evaluate", folder / "p", folder / "rows.csv", *with_model)[0] == 0
    how = ("--template", "chat: {text}?", "--generate", "--steps", 1, "--length", 2, *with_model)
    code, said, _ = cuetune("tune", folder / "rows.csv", "--to", folder / "w", *how)
    assert code == 0, said
