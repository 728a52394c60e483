//! Finds the state dict in a pickled checkpoint and describes its tensors.

use super::named_tensors::{ElementType, is_read_as_whole_number};
use super::pickle::{Global, Pickle, Value, ValueId};
use super::strided::Layout;
use std::collections::BTreeMap;

/// Keys under which training scripts save their state dict, in the order they are tried.
const STATE_DICT_KEYS: [&str; 3] = ["model", "state_dict", "model_state_dict"];
/// `{'state_dict': {'model': ...}}` occurs; more levels do not.
const MAX_WRAPPERS: usize = 4;
/// Limits of a TorchScript module tree, far above any CLIP: shared submodules could make a small file a huge tree.
const MAX_ATTRIBUTES: usize = 1 << 20;
const MAX_KEY_BYTES: usize = 1024;
/// PyTorch's own limit.
const MAX_AXES: usize = 64;

/// PyTorch's storage classes that hold floating-point numbers.
const FLOAT_STORAGES: &[(&str, ElementType)] = &[
    ("DoubleStorage", ElementType::Float64),
    ("FloatStorage", ElementType::Float32),
    ("HalfStorage", ElementType::Float16),
    ("BFloat16Storage", ElementType::BFloat16),
];
/// PyTorch's storage class of the one kind of whole numbers that is read.
const WHOLE_NUMBERS: (&str, ElementType) = ("LongStorage", ElementType::Int64);
/// Storage classes of counters, indices and masks, which are no weights.
const INTEGER_STORAGES: &[&str] =
    &["LongStorage", "IntStorage", "ShortStorage", "CharStorage", "ByteStorage", "BoolStorage"];

/// A tensor of the state dict that is not read yet.
#[derive(Debug)]
pub(super) struct PickledTensor<'a> {
    pub(super) element: ElementType,
    /// Name of the storage's entry under `data/`.
    pub(super) storage: &'a str,
    /// Number of elements the storage says it has.
    pub(super) storage_elements: usize,
    pub(super) layout: Layout,
}

/// Why a pickle gives no tensors.
#[derive(Debug, PartialEq)]
pub(super) enum StateDictFault {
    /// No state dict; what there is.
    Absent { found: String },
    /// A Python object in the place of weights.
    Object { callable: String, place: String },
    /// A tensor that makes no sense.
    Malformed { key: String, reason: String },
    /// A tensor of a kind that is not read.
    Unsupported { key: String, reason: String },
}

/// Tensors by their names in the checkpoint. Of a name given twice the last counts, as in Python.
pub(super) type PickledTensors<'a> = BTreeMap<String, PickledTensor<'a>>;

/// Lists the floating-point tensors of the state dict, wherever the checkpoint keeps it.
pub(super) fn tensors<'a>(pickle: &'a Pickle<'a>) -> Result<PickledTensors<'a>, StateDictFault> {
    let mut root = pickle.root();
    for _ in 0..MAX_WRAPPERS {
        let Some(inner) = wrapped(pickle, root) else { break };
        root = inner;
    }
    let found = if let Some(items) = pickle.dict(root) {
        dict_tensors(pickle, items, root != pickle.root())?
    } else if script_module(pickle, root).is_some() {
        module_tensors(pickle, root)?
    } else if let Some((callable, ..)) = pickle.built(root) {
        let place = "its content".to_owned();
        return Err(StateDictFault::Object { callable: callable_name(pickle, callable), place });
    } else {
        PickledTensors::new()
    };
    if found.is_empty() {
        return Err(StateDictFault::Absent { found: pickle.describe(root) });
    }
    Ok(found)
}

fn callable_name(pickle: &Pickle<'_>, callable: ValueId) -> String {
    pickle.global(callable).map_or_else(|| "a computed function".to_owned(), |global| global.to_string())
}

/// The dict or module under one of the usual keys. Other values there (`'model': 'ViT-B/16'`) are passed over.
fn wrapped(pickle: &Pickle<'_>, id: ValueId) -> Option<ValueId> {
    let items = pickle.dict(id)?;
    let candidates: Vec<ValueId> = STATE_DICT_KEYS
        .iter()
        // The last item of a key wins, as in Python.
        .filter_map(|&wanted| items.iter().rev().find(|&&(key, _)| pickle.text(key) == Some(wanted)))
        .map(|&(_, value)| value)
        .collect();
    let holds_weights = |value: ValueId| pickle.dict(value).is_some() || script_module(pickle, value).is_some();
    let is_object = |value: ValueId| pickle.built(value).is_some() && tensor_call(pickle, value).is_none();
    // Any other object is only followed for the error to name it.
    let chosen = candidates.iter().find(|&&value| holds_weights(value));
    chosen.or_else(|| candidates.iter().find(|&&value| is_object(value))).copied()
}

/// Tensors of a plain state dict. Plain data and settings beside the tensors are left out; any other object stands in a
/// tensor's place. `is_certain`: the dict was found under a state dict's usual key.
fn dict_tensors<'a>(
    pickle: &'a Pickle<'a>,
    items: &[(ValueId, ValueId)],
    is_certain: bool,
) -> Result<PickledTensors<'a>, StateDictFault> {
    let mut found = PickledTensors::new();
    let mut object = None;
    for &(key, value) in items {
        let Some(key) = pickle.text(key) else { continue };
        if let Some(arguments) = tensor_call(pickle, value) {
            found.extend(tensor(pickle, key, arguments)?.map(|tensor| (key.to_owned(), tensor)));
        } else if let Some((callable, ..)) = pickle.built(value)
            && !pickle.global(callable).is_some_and(is_settings)
        {
            let place = format!("the tensor `{key:.200}`");
            object.get_or_insert(StateDictFault::Object { callable: callable_name(pickle, callable), place });
        }
    }
    match object {
        // A dict of the file's own without any tensor is no state dict, and the objects in it are not the point.
        Some(fault) if is_certain || !found.is_empty() => Err(fault),
        _ => Ok(found),
    }
}

/// Classes of plain data that scripts keep among the tensors.
fn is_settings(global: Global<'_>) -> bool {
    matches!(
        (global.module, global.name),
        ("argparse", "Namespace") | ("torch", "device" | "Size") | ("pathlib", "PosixPath" | "WindowsPath")
    ) || global.module.starts_with("numpy") && global.name == "scalar"
}

/// The attributes of a TorchScript module object.
fn script_module<'a>(pickle: &'a Pickle<'a>, id: ValueId) -> Option<&'a [(ValueId, ValueId)]> {
    let (callable, _, state) = pickle.built(id)?;
    let is_script = pickle.global(callable)?.module.starts_with("__torch__");
    pickle.dict(state?).filter(|_| is_script)
}

/// Tensors of a TorchScript module and of its submodules, under dotted names as in a state dict.
fn module_tensors<'a>(pickle: &'a Pickle<'a>, root: ValueId) -> Result<PickledTensors<'a>, StateDictFault> {
    let mut found = PickledTensors::new();
    let mut open = vec![(String::new(), root)];
    let mut visited = 0;
    while let Some((prefix, module)) = open.pop() {
        let attributes = script_module(pickle, module).unwrap_or_default();
        visited += attributes.len() + 1;
        if visited > MAX_ATTRIBUTES || prefix.len() > MAX_KEY_BYTES {
            let reason = format!("more than {MAX_ATTRIBUTES} attributes, or a name of more than {MAX_KEY_BYTES} bytes");
            return Err(StateDictFault::Malformed { key: format!("{prefix:.80}"), reason });
        }
        for &(name, value) in attributes {
            let Some(name) = pickle.text(name).filter(|name| name.len() <= MAX_KEY_BYTES) else { continue };
            let key = format!("{prefix}{name}");
            if let Some(arguments) = tensor_call(pickle, value) {
                found.extend(tensor(pickle, &key, arguments)?.map(|tensor| (key, tensor)));
            } else if script_module(pickle, value).is_some() {
                open.push((key + ".", value));
            }
        }
    }
    Ok(found)
}

/// Arguments of the call that rebuilds a plain tensor, if the value is one, inside whatever wraps it as a parameter.
fn tensor_call<'a>(pickle: &'a Pickle<'a>, id: ValueId) -> Option<&'a [ValueId]> {
    const MAX_WRAPPINGS: usize = 8;
    let (mut callable, mut arguments, _) = pickle.built(id)?;
    for _ in 0..MAX_WRAPPINGS {
        let global = pickle.global(callable)?;
        let items = pickle.items(arguments)?;
        match (global.module, global.name) {
            ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2") => return Some(items),
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => {
                (callable, arguments, _) = pickle.built(*items.first()?)?;
            }
            // A subclass of Tensor: (rebuild function, class, arguments, state).
            ("torch._tensor", "_rebuild_from_type_v2") => (callable, arguments) = (*items.first()?, *items.get(2)?),
            _ => return None,
        }
    }
    None
}

/// Reads `(storage, offset, shape, strides, ...)`. None for tensors of integers that are not read.
fn tensor<'a>(
    pickle: &'a Pickle<'a>,
    key: &str,
    arguments: &[ValueId],
) -> Result<Option<PickledTensor<'a>>, StateDictFault> {
    let malformed = |reason: &str| StateDictFault::Malformed { key: key.to_owned(), reason: reason.to_owned() };
    let [storage, offset, shape, strides, ..] = arguments else {
        return Err(malformed("its call has too few arguments"));
    };
    let Value::Persistent(reference) = pickle.value(*storage) else {
        return Err(malformed("it has no storage"));
    };
    // ('storage', class, entry, device, number of elements)
    let Some([_, class, entry, _, elements, ..]) = pickle.items(*reference) else {
        return Err(malformed("its storage has too few fields"));
    };
    let (Some(class), Some(storage), Some(storage_elements)) =
        (pickle.global(*class), pickle.text(*entry), size(pickle, *elements))
    else {
        return Err(malformed("its storage has fields of the wrong type"));
    };
    let whole_numbers = Some(&WHOLE_NUMBERS).filter(|_| is_read_as_whole_number(key));
    let known = FLOAT_STORAGES.iter().chain(whole_numbers).find(|&&(name, _)| name == class.name);
    if known.is_none() && INTEGER_STORAGES.contains(&class.name) {
        return Ok(None);
    }
    let Some(&(_, element)) = known else {
        let reason = format!("tensors of `{class}` are not read; convert it with .float() before saving");
        return Err(StateDictFault::Unsupported { key: key.to_owned(), reason });
    };
    let (Some(offset), Some(shape), Some(strides)) =
        (size(pickle, *offset), sizes(pickle, *shape), sizes(pickle, *strides))
    else {
        return Err(malformed("its offset, shape or strides are not natural numbers"));
    };
    Ok(Some(PickledTensor { element, storage, storage_elements, layout: Layout { offset, shape, strides } }))
}

fn size(pickle: &Pickle<'_>, id: ValueId) -> Option<usize> {
    let Value::Integer(number) = pickle.value(id) else { return None };
    usize::try_from(*number).ok()
}

/// Numbers of a tuple, a list or a `torch.Size`.
fn sizes(pickle: &Pickle<'_>, id: ValueId) -> Option<Vec<usize>> {
    let mut items = pickle.items(id);
    if let Some((callable, arguments, _)) = pickle.built(id)
        && pickle.global(callable) == Some(Global { module: "torch", name: "Size" })
    {
        items = pickle.items(*pickle.items(arguments)?.first()?);
    }
    items.filter(|items| items.len() <= MAX_AXES)?.iter().map(|&item| size(pickle, item)).collect()
}
