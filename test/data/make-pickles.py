"""Writes fixtures/pickles.json: nanoGPT's meta.pkl of 27 characters by every protocol, and pickles that are to be refused."""
import base64, collections, json, pathlib, pickle

chars = sorted("\n\\' abcdefghijklmnopqrsté€😀")
assert len(chars) == 27
meta = {"vocab_size": 27, "itos": dict(enumerate(chars)), "stoi": {c: i for i, c in enumerate(chars)}}
big = {"vocab_size": 70_000, "itos": {i: str(i - 1000) for i in range(300)}, "stoi": {"x" * 300: -5}}


class Caller:
    def __reduce__(self):
        return (print, ("called",))


refused = {
    "call": Caller(), "object": collections.OrderedDict(a=1), "list": [1], "tuple": {"a": (1, 2)}, "float": {"a": 1.5},
    "bytes": {"a": b"x"}, "none": {"a": None}, "boolean": {"a": True}, "set": {"a": {1}}, "large": {"a": 1 << 40},
}
dump = lambda value, protocol: base64.b64encode(pickle.dumps(value, protocol)).decode()
(pathlib.Path(__file__).parent / "fixtures/pickles.json").write_text(json.dumps({
    "characters": chars,
    "meta": [dump(meta, protocol) for protocol in range(6)],
    "big": [dump(big, protocol) for protocol in range(6)],
    "refused": {name: [dump(value, protocol) for protocol in range(6)] for name, value in refused.items()},
}, indent=1) + "\n")
