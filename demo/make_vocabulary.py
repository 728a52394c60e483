#!/usr/bin/env python3
"""Makes a small vocabulary in the form of CLIP's from the captions that a data set trains on.

    demo/make_vocabulary.py DATA OUT.json [--size 468]
    demo/make_vocabulary.py DATA --check demo/tokenizer.json

DATA: a data set in CUHK-PEDES' layout. The demo's vocabulary is that of SYNTH-PEDES, a drawn data set. The tokenizers library
numbers the characters that end a word in another order each time; here they are sorted, which the demo's are not. So
--check compares all but their ids. Models are trained anew with a new vocabulary.

Made with tokenizers 0.23.3.
"""
import argparse
import json
import pathlib
import sys

from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

END_OF_WORD = "</w>"
# In the order of the papers' ids: the last has the highest.
SPECIAL = ("<|mask|>", "<|startoftext|>", "<|endoftext|>")
# What CLIP's tokenizer splits at.
WORDS = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def empty_tokenizer(model):
    """Everything of CLIP's tokenizer but its merges."""
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Sequence([
        normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase(),
    ])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
    ])
    return tokenizer


def make(captions, size):
    """A tokenizer of `size` ids, byte pair encoding with special tokens."""
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trained = empty_tokenizer(models.BPE(end_of_word_suffix=END_OF_WORD))
    trained.train_from_iterator(captions, trainers.BpeTrainer(
        vocab_size=size - len(SPECIAL), initial_alphabet=alphabet, end_of_word_suffix=END_OF_WORD, show_progress=False,
    ))
    content = json.loads(trained.to_str())["model"]
    by_id = sorted(content["vocab"], key=content["vocab"].get)
    last_characters = len(by_id) - len(content["merges"])
    by_id[len(alphabet):last_characters] = sorted(by_id[len(alphabet):last_characters])
    tokenizer = empty_tokenizer(models.BPE(
        vocab={token: index for index, token in enumerate(by_id)},
        merges=[tuple(merge) for merge in content["merges"]], end_of_word_suffix=END_OF_WORD,
    ))
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in SPECIAL])
    _, start, end = SPECIAL
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}", special_tokens=[(token, tokenizer.token_to_id(token)) for token in (start, end)],
    )
    return tokenizer


def without_ids(text):
    """A tokenizer file's content, with the set of tokens instead of their ids."""
    content = json.loads(text)
    content["model"]["vocab"] = sorted(content["model"]["vocab"])
    return content


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path, help="folder of the data set")
    parser.add_argument("out", type=pathlib.Path, nargs="?", help="file to write")
    parser.add_argument("--size", type=int, default=468, help="number of ids [default: 468]")
    parser.add_argument("--check", type=pathlib.Path, metavar="FILE", help="compare with a file instead of writing")
    arguments = parser.parse_args()
    if (arguments.out is None) == (arguments.check is None):
        parser.error("one of OUT and --check is needed")

    annotations = json.loads((arguments.data / "reid_raw.json").read_text())
    captions = [caption for entry in annotations if entry["split"] == "train" for caption in entry["captions"]]
    tokenizer = make(captions, arguments.size)
    if arguments.out is not None:
        tokenizer.save(str(arguments.out))
    elif without_ids(tokenizer.to_str()) != without_ids(arguments.check.read_text()):
        sys.exit(f"{arguments.check} is another vocabulary")


if __name__ == "__main__":
    main()
