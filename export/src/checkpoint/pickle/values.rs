//! What a pickle says, as plain values that refer to each other.

use std::fmt;

/// Index of a value within its [`Pickle`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ValueId(pub(super) u32);

/// One value; children are indices because the same child may be shared, or even contain its parent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value<'a> {
    /// Data that no checkpoint needs the content of (None, floats, sets ...), in words.
    Plain(&'static str),
    /// An integer of up to 64 bits.
    Integer(i64),
    /// A string.
    Text(&'a str),
    /// A Python name. Only the name.
    Global(Global<'a>),
    /// A tuple.
    Tuple(Vec<ValueId>),
    /// A list.
    List(Vec<ValueId>),
    /// A dict, ordered or not, as its items in order; a key set twice is there twice.
    Dict(Vec<(ValueId, ValueId)>),
    /// What calling something, or making an object of a class, would give.
    Built {
        /// The function or class, normally a [`Value::Global`].
        callable: ValueId,
        /// The arguments, normally a [`Value::Tuple`].
        arguments: ValueId,
        /// What the object is filled with afterwards.
        state: Option<ValueId>,
    },
    /// A reference to data outside the pickle: PyTorch's storages.
    Persistent(ValueId),
}

/// `module.name` of a function or class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Global<'a> {
    pub(crate) module: &'a str,
    pub(crate) name: &'a str,
}

impl fmt::Display for Global<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.module, self.name)
    }
}

/// Why a pickle was not read to its end.
#[derive(Debug, PartialEq)]
pub(crate) enum PickleFault {
    /// Not a pickle, cut off, or over a limit.
    Damaged { offset: usize, reason: String },
    /// It would call something that runs code; the name of that.
    Hostile { callable: String },
}

/// A pickle that was read to its end.
#[derive(Debug)]
pub(crate) struct Pickle<'a> {
    pub(super) values: Vec<Value<'a>>,
    pub(super) root: ValueId,
}

impl<'a> Pickle<'a> {
    /// The pickled value.
    pub(crate) fn root(&self) -> ValueId {
        self.root
    }

    /// The value at an index of this pickle.
    pub(crate) fn value(&self, id: ValueId) -> &Value<'a> {
        const NOTHING: &Value<'static> = &Value::Plain("nothing");
        self.values.get(id.0 as usize).unwrap_or(NOTHING)
    }

    /// The string at `id`, if it is one.
    pub(crate) fn text(&self, id: ValueId) -> Option<&'a str> {
        if let Value::Text(text) = self.value(id) { Some(text) } else { None }
    }

    /// The items of the tuple or list at `id`, if it is one.
    pub(crate) fn items(&self, id: ValueId) -> Option<&[ValueId]> {
        if let Value::Tuple(items) | Value::List(items) = self.value(id) { Some(items) } else { None }
    }

    /// The items of the dict at `id`, if it is one.
    pub(crate) fn dict(&self, id: ValueId) -> Option<&[(ValueId, ValueId)]> {
        if let Value::Dict(items) = self.value(id) { Some(items) } else { None }
    }

    /// The call at `id`, if it is one: what is called, with what, and the state of the result.
    pub(crate) fn built(&self, id: ValueId) -> Option<(ValueId, ValueId, Option<ValueId>)> {
        if let Value::Built { callable, arguments, state } = self.value(id) {
            Some((*callable, *arguments, *state))
        } else {
            None
        }
    }

    /// The name at `id`, if it is one.
    pub(crate) fn global(&self, id: ValueId) -> Option<Global<'a>> {
        if let Value::Global(global) = self.value(id) { Some(*global) } else { None }
    }

    /// The value at `id` in a few words, for messages.
    pub(crate) fn describe(&self, id: ValueId) -> String {
        match self.value(id) {
            Value::Plain(words) => (*words).to_owned(),
            Value::Integer(_) => "an integer".to_owned(),
            Value::Text(_) => "a string".to_owned(),
            Value::Global(global) => format!("the name `{global}`"),
            Value::Tuple(_) => "a tuple".to_owned(),
            Value::List(_) => "a list".to_owned(),
            Value::Dict(items) => self.describe_dict(items),
            Value::Built { callable, .. } => match self.global(*callable) {
                Some(global) => format!("the result of calling `{global}`"),
                None => "the result of a call".to_owned(),
            },
            Value::Persistent(_) => "a storage".to_owned(),
        }
    }

    fn describe_dict(&self, items: &[(ValueId, ValueId)]) -> String {
        const SHOWN: usize = 8;
        let keys: Vec<String> = items
            .iter()
            .take(SHOWN)
            .map(|&(key, _)| self.text(key).map_or_else(|| self.describe(key), |text| format!("{:.80}", text)))
            .collect();
        let more = if items.len() > SHOWN { ", ..." } else { "" };
        format!("a dict with the keys [{}{more}]", keys.join(", "))
    }
}
