"""Writes the small checkpoints beside this file, in the formats of PyTorch, without needing PyTorch.

    python3 generate_checkpoints.py [--out FOLDER | --check]

Without --out the files here are overwritten. --check writes nothing, and fails unless the files are the same to the byte.

Needs Python 3.11 and nothing else. Python's own pickler writes what torch.save writes, once `torch` is a stand-in whose
classes and functions have the right names. The values are chosen so that the tests in src/checkpoint/tests.rs can state
them; provenance.toml lists the SHA-256 of every file.
"""
import argparse, collections, io, os, pathlib, pickle, struct, sys, types, zipfile

HERE = pathlib.Path(__file__).parent
FILES = {}  # content by name


def stand_in(module, name, kind=None):
    """A class or function that pickles as `module.name`."""
    thing = kind if kind is not None else (lambda *arguments: None)
    thing.__module__, thing.__qualname__, thing.__name__ = module, name, name
    parts = module.split('.')
    for depth in range(1, len(parts) + 1):
        sys.modules.setdefault('.'.join(parts[:depth]), types.ModuleType(parts[depth - 1]))
    setattr(sys.modules[module], name, thing)
    return thing


rebuild_tensor = stand_in('torch._utils', '_rebuild_tensor_v2')
rebuild_parameter = stand_in('torch._utils', '_rebuild_parameter')
rebuild_from_type = stand_in('torch._tensor', '_rebuild_from_type_v2')
size_class = stand_in('torch', 'Size', type('Size', (), {'__reduce__': lambda self: (size_class, (self.sizes,))}))
FORMATS = {'Float': 'f', 'Half': 'e', 'Double': 'd', 'Long': 'q', 'Bool': '?', 'BFloat16': None, 'ComplexFloat': 'f'}
CLASSES = {kind: stand_in('torch', f'{kind}Storage', type('S', (), {})) for kind in FORMATS}


class Storage:
    def __init__(self, kind, values):
        self.kind, self.count = kind, len(values)
        if kind == 'BFloat16':
            self.bytes = b''.join(struct.pack('<f', value)[2:] for value in values)
        else:
            self.bytes = struct.pack(f'<{len(values)}{FORMATS[kind]}', *values)


class Tensor:
    def __init__(self, storage, shape, strides=None, offset=0):
        if strides is None:
            strides, step = [], 1
            for size in reversed(shape):
                strides.insert(0, step)
                step *= size
        self.arguments = (storage, offset, tuple(shape), tuple(strides), False, collections.OrderedDict())

    def __reduce_ex__(self, protocol):
        return rebuild_tensor, self.arguments


class Call:
    """Pickles as the call of a function."""
    def __init__(self, function, *arguments):
        self.call = (function, arguments)

    def __reduce_ex__(self, protocol):
        return self.call


class SizedTensor(Tensor):
    """A tensor whose shape is a torch.Size object."""
    def __reduce_ex__(self, protocol):
        size = size_class()
        size.sizes = self.arguments[2]
        return rebuild_tensor, self.arguments[:2] + (size,) + self.arguments[3:]


def tensor(values, shape=None, kind='Float'):
    return Tensor(Storage(kind, values), shape if shape is not None else [len(values)])


class Pickler(pickle.Pickler):
    def __init__(self, file, protocol):
        super().__init__(file, protocol)
        self.storages = {}

    def persistent_id(self, thing):
        if not isinstance(thing, Storage):
            return None
        key, _ = self.storages.setdefault(id(thing), (str(len(self.storages)), thing))
        return 'storage', CLASSES[thing.kind], key, 'cpu', getattr(thing, 'claimed', thing.count)


def save(name, content, protocol=2, byteorder=b'little', method=zipfile.ZIP_STORED, without=(), extra=()):
    data = io.BytesIO()
    pickler = Pickler(data, protocol)
    pickler.dump(content)
    entries = [('data.pkl', data.getvalue()), ('byteorder', byteorder)]
    entries += [(f'data/{key}', storage.bytes) for key, storage in pickler.storages.values()]
    entries += [('version', b'3\n'), *extra]
    entries = [(f'archive/{entry}', content) for entry, content in entries if entry not in without]
    FILES[name] = zipped(entries, method)


def zipped(entries, method=zipfile.ZIP_STORED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, 'w', method) as archive:
        for entry, content in entries:
            archive.writestr(zipfile.ZipInfo(entry, (1980, 1, 1, 0, 0, 0)), content, method)
    return file.getvalue()


shared = Storage('Float', list(range(12)))
state = collections.OrderedDict([
    ('module.base_model.half', tensor([0.5, -2.0], kind='Half')),
    ('module.base_model.double', tensor([0.25, 3.0], [2, 1], 'Double')),
    ('base_model.bfloat', tensor([1.0, -0.5, 96.0], kind='BFloat16')),
    ('shared', Tensor(shared, [3, 4])),
    ('shared_transposed', Tensor(shared, [4, 3], [1, 4])),
    ('shared_rows', SizedTensor(shared, [2, 4], [4, 1], 4)),
    ('shared_column', Tensor(shared, [3], [4], 1)),
    ('scalar', Tensor(Storage('Float', [7.0]), [], [])),
    ('empty', Tensor(Storage('Float', []), [0, 3])),
    ('parameter', Call(rebuild_parameter, tensor([1.5]), True, collections.OrderedDict())),
    ('subclass', Call(rebuild_from_type, rebuild_tensor, CLASSES['Float'], tensor([2.5]).arguments, {'note': 'x'})),
    ('norm.num_batches_tracked', tensor([3], [], 'Long')),
    ('attn_mask', tensor([0.0, float('-inf')])),
])
state._metadata = {'': {'version': 1}}
training = {
    'epoch': 3,
    'optimizer': {'state': {0: {'step': tensor([1.0]), 'exp_avg': tensor([float('nan')])}}, 'param_groups': [{'lr': 1e-5}]},
    'args': argparse.Namespace(name='run', img_size=(384, 128), seeds={1, 2}, big=2 ** 100, raw=b'\0'),
    'scheduler': Call(stand_in('solver', 'Scheduler', type('Scheduler', (), {})), 1),
}
save('training_run.pth', {'model': state, **training})
save('training_run_protocol4.pth', {'state_dict': {'model': dict(state)}, **training}, protocol=4)
save('bare.pth', {'weight': tensor([1.0, 2.0]), 'arch': 'ViT-B/16', 'args': argparse.Namespace(), 'epoch': 1})

# What a script module's data.pkl looks like: objects of `__torch__` classes with their attributes as state.
block = stand_in('__torch__.model', 'Block', type('Block', (), {}))
stack = stand_in('__torch__.torch.nn.modules.container.___torch_mangle_1', 'Sequential', type('Sequential', (), {}))


def module(cls, **attributes):
    made = cls()
    made.__dict__.update(training=False, _is_full_backward_hook=None, **attributes)
    return made


save('script_module.pt', module(
    block, proj=tensor([1.0, 2.0], [1, 2], 'Half'), input_resolution=tensor([224], [], 'Long'), sizes=[1, 2],
    resblocks=module(stack, **{'0': module(block, weight=tensor([3.0])), '1': module(block, weight=tensor([4.0]))}),
), extra=[('constants.pkl', pickle.dumps((), 2)), ('code/__torch__/model.py', b'class Block: pass\n')])

save('hostile.pth', Call(os.system, 'echo executed'))
save('hostile_beside_weights.pth', {'model': {'weight': tensor([1.0])}, 'hook': [Call(os.system, 'echo executed')]})
save('hostile_protocol4.pth', {'model': {'weight': Call(eval, '1')}}, protocol=4)
save('whole_model.pth', module(stand_in('train', 'Model', type('Model', (), {})), weight=tensor([1.0])))
save('object_and_weights.pth', {'model': Call(CLASSES['Half']), 'state_dict': {'weight': tensor([1.0])}})
save('object_for_tensor.pth', {'model': {'weight': tensor([1.0]), 'bias': Call(stand_in('train', 'make_bias'), 2)}})
save('other_keys.pth', {'net': {'weight': tensor([1.0])}, 'epoch': 1})
save('complex.pth', {'weight': tensor([1.0, 2.0], [1], 'ComplexFloat')})
save('nan.pth', {'model': {'fine': tensor([1.0]), 'base_model.broken': tensor([1.0, float('nan'), float('inf')])}})
save('same_twice.pth', {'weight': tensor([1.0]), 'module.weight': tensor([1.0]), 'module.base_model.weight': tensor([1.0])})
save('contradiction.pth', {'weight': tensor([1.0]), 'base_model.weight': tensor([2.0])})
save('big_endian.pth', {'weight': tensor([1.0])}, byteorder=b'big')
save('compressed.pth', {'weight': tensor([0.0] * 64)}, method=zipfile.ZIP_DEFLATED)
save('missing_storage.pth', {'weight': tensor([1.0])}, without=['data/0'])
short = Storage('Float', [1.0, 2.0])
short.claimed = 3
save('short_storage.pth', {'weight': Tensor(short, [3])})
save('outside_storage.pth', {'weight': Tensor(Storage('Float', [1.0, 2.0]), [2], [2])})
save('expanded_beyond_reason.pth', {'weight': Tensor(Storage('Float', [1.0]), [2 ** 20, 2 ** 20], [0, 0])})
save('overflowing.pth', {'weight': Tensor(Storage('Float', [1.0]), [2 ** 62, 2 ** 62], [2 ** 62, 1], 2 ** 62)})
FILES['legacy.pth'] = pickle.dumps(0x1950a86a20f9469cfc6c, 2) + pickle.dumps(1001, 2)
FILES['not_a_checkpoint.zip'] = zipped([('notes.txt', b'hello')])

if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=pathlib.Path, default=HERE, help='where the files go')
    parser.add_argument('--check', action='store_true', help='compare with the files here instead of writing')
    arguments = parser.parse_args()
    if arguments.check:
        here = {path.name: path.read_bytes() for path in HERE.iterdir() if path.suffix in ('.pth', '.pt', '.zip')}
        others = [name for name in sorted(here.keys() | FILES.keys()) if here.get(name) != FILES.get(name)]
        print(f'{len(FILES) - len(others)} of {len(FILES)} files are the same')
        sys.exit(f'others: {others}' if others else 0)
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, content in FILES.items():
        (arguments.out / name).write_bytes(content)
