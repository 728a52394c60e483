//! The stack machine that reads a pickle's opcodes into values.

use super::code_runners::runs_code;
use super::input::Input;
use super::opcode as op;
use super::values::{Global, Pickle, PickleFault, Value, ValueId};
use std::collections::HashMap;

/// Published checkpoints with optimiser state need a few hundred thousand of each; the limits keep hostile files from
/// taking memory out of proportion.
const MAX_OPCODES: usize = 1 << 24;
const MAX_VALUES: usize = 1 << 22;
const MAX_OPEN_MARKS: usize = 1 << 16;

/// The newest protocol whose opcodes are known here.
const NEWEST_PROTOCOL: u8 = 5;

/// Values without content are shared; these are their fixed places at the front of the list.
const NONE: ValueId = ValueId(0);
const BOOL: ValueId = ValueId(1);
const NUMBER: ValueId = ValueId(2);
const BYTES: ValueId = ValueId(3);
const SET: ValueId = ValueId(4);
const EMPTY_TUPLE: ValueId = ValueId(5);

struct Machine<'a> {
    input: Input<'a>,
    values: Vec<Value<'a>>,
    stack: Vec<ValueId>,
    /// Heights of the stack at the open marks.
    marks: Vec<usize>,
    memo: HashMap<u64, ValueId>,
    copied_items: usize,
}

/// See [`Pickle::read`].
pub(super) fn run(bytes: &[u8]) -> Result<Pickle<'_>, PickleFault> {
    let shared = ["None", "a boolean", "a number", "bytes", "a set"].map(Value::Plain);
    let mut values = Vec::from(shared);
    values.push(Value::Tuple(Vec::new()));
    let mut machine = Machine {
        input: Input::new(bytes),
        values,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        copied_items: 0,
    };
    for _ in 0..MAX_OPCODES {
        let opcode = machine.input.byte()?;
        if opcode == op::STOP {
            let root = machine.pop()?;
            return Ok(Pickle { values: machine.values, root });
        }
        machine.step(opcode)?;
    }
    Err(machine.fault(format!("more than {MAX_OPCODES} opcodes")))
}

impl<'a> Machine<'a> {
    fn step(&mut self, opcode: u8) -> Result<(), PickleFault> {
        match opcode {
            op::PROTO => self.protocol(),
            op::FRAME => self.input.take(8).map(|_| ()),
            op::MARK => self.mark(),
            op::POP => self.discard(),
            op::POP_MARK => self.pop_mark().map(|_| ()),
            op::DUP => self.top().and_then(|top| self.push_id(top)),
            op::NONE => self.push_id(NONE),
            op::NEWTRUE | op::NEWFALSE => self.push_id(BOOL),
            op::BINFLOAT => self.input.take(8).and_then(|_| self.push_id(NUMBER)),
            op::FLOAT => self.input.line().and_then(|_| self.push_id(NUMBER)),
            op::INT | op::LONG => self.text_integer(),
            op::BININT | op::BININT1 | op::BININT2 | op::LONG1 | op::LONG4 => self.binary_integer(opcode),
            op::STRING | op::UNICODE => self.input.line().and_then(|line| self.push(Value::Text(line))),
            op::SHORT_BINUNICODE | op::SHORT_BINSTRING | op::BINUNICODE | op::BINSTRING | op::BINUNICODE8 => {
                self.text(opcode)
            }
            op::SHORT_BINBYTES | op::BINBYTES | op::BINBYTES8 | op::BYTEARRAY8 => {
                self.input.counted(opcode).and_then(|_| self.push_id(BYTES))
            }
            op::EMPTY_TUPLE => self.push_id(EMPTY_TUPLE),
            op::TUPLE1 => self.short_tuple(1),
            op::TUPLE2 => self.short_tuple(2),
            op::TUPLE3 => self.short_tuple(3),
            op::TUPLE => self.pop_mark().and_then(|items| self.push(Value::Tuple(items))),
            op::EMPTY_LIST => self.push(Value::List(Vec::new())),
            op::LIST => self.pop_mark().and_then(|items| self.push(Value::List(items))),
            op::EMPTY_DICT => self.push(Value::Dict(Vec::new())),
            op::DICT => {
                self.pop_mark().and_then(|items| self.pairs(&items)).and_then(|pairs| self.push(Value::Dict(pairs)))
            }
            op::EMPTY_SET => self.push_id(SET),
            op::FROZENSET => self.pop_mark().and_then(|_| self.push_id(SET)),
            op::ADDITEMS => self.pop_mark().map(|_| ()),
            op::APPEND => self.pop().and_then(|item| self.append(vec![item])),
            op::APPENDS => self.pop_mark().and_then(|items| self.append(items)),
            op::SETITEM => self.pop_pair().and_then(|pair| self.set_items(vec![pair])),
            op::SETITEMS => {
                self.pop_mark().and_then(|items| self.pairs(&items)).and_then(|pairs| self.set_items(pairs))
            }
            op::PUT | op::BINPUT | op::LONG_BINPUT | op::MEMOIZE => {
                self.memo_key(opcode).and_then(|key| self.memoize(key))
            }
            op::GET | op::BINGET | op::LONG_BINGET => self.memo_key(opcode).and_then(|key| self.recall(key)),
            op::GLOBAL => self.global(),
            op::STACK_GLOBAL => self.stack_global(),
            op::REDUCE | op::NEWOBJ => {
                self.pop_pair().and_then(|(callable, arguments)| self.build(callable, arguments))
            }
            op::NEWOBJ_EX => {
                self.pop()?;
                self.pop_pair().and_then(|(callable, arguments)| self.build(callable, arguments))
            }
            op::INST => {
                self.global()?;
                let callable = self.pop()?;
                let items = self.pop_mark()?;
                self.build_with(callable, items)
            }
            op::OBJ => {
                let mut items = self.pop_mark()?;
                if items.is_empty() {
                    return Err(self.fault("an object without a class"));
                }
                let callable = items.remove(0);
                self.build_with(callable, items)
            }
            op::BUILD => self.set_state(),
            op::PERSID => {
                self.input.line().and_then(|line| self.push(Value::Text(line)))?;
                self.pop().and_then(|reference| self.push(Value::Persistent(reference)))
            }
            op::BINPERSID => self.pop().and_then(|reference| self.push(Value::Persistent(reference))),
            unknown => Err(self.fault(format!("opcode 0x{unknown:02x} is not one that PyTorch writes"))),
        }
    }

    fn fault(&self, reason: impl Into<String>) -> PickleFault {
        self.input.fault(reason)
    }

    fn protocol(&mut self) -> Result<(), PickleFault> {
        let protocol = self.input.byte()?;
        if protocol > NEWEST_PROTOCOL {
            return Err(self.fault(format!("pickle protocol {protocol} is newer than {NEWEST_PROTOCOL}")));
        }
        Ok(())
    }

    fn push(&mut self, value: Value<'a>) -> Result<(), PickleFault> {
        if self.values.len() >= MAX_VALUES {
            return Err(self.fault(format!("more than {MAX_VALUES} values")));
        }
        let id = ValueId(self.values.len() as u32);
        self.values.push(value);
        self.push_id(id)
    }

    fn push_id(&mut self, id: ValueId) -> Result<(), PickleFault> {
        if self.stack.len() >= MAX_VALUES {
            return Err(self.fault(format!("more than {MAX_VALUES} values on the stack")));
        }
        self.stack.push(id);
        Ok(())
    }

    fn mark(&mut self) -> Result<(), PickleFault> {
        if self.marks.len() >= MAX_OPEN_MARKS {
            return Err(self.fault(format!("nested deeper than {MAX_OPEN_MARKS}")));
        }
        self.marks.push(self.stack.len());
        Ok(())
    }

    fn top(&self) -> Result<ValueId, PickleFault> {
        let floor = self.marks.last().copied().unwrap_or(0);
        self.stack.get(floor..).and_then(|above| above.last()).copied().ok_or_else(|| self.fault("the stack is empty"))
    }

    fn pop(&mut self) -> Result<ValueId, PickleFault> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// POP also closes a mark that nothing follows.
    fn discard(&mut self) -> Result<(), PickleFault> {
        if self.marks.last() == Some(&self.stack.len()) {
            self.marks.pop();
            return Ok(());
        }
        self.pop().map(|_| ())
    }

    fn pop_mark(&mut self) -> Result<Vec<ValueId>, PickleFault> {
        let start = self.marks.pop().ok_or_else(|| self.fault("no mark is open"))?;
        Ok(self.stack.split_off(start.min(self.stack.len())))
    }

    fn pop_pair(&mut self) -> Result<(ValueId, ValueId), PickleFault> {
        let second = self.pop()?;
        Ok((self.pop()?, second))
    }

    fn pairs(&self, items: &[ValueId]) -> Result<Vec<(ValueId, ValueId)>, PickleFault> {
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(self.fault("a dict key without a value"));
        }
        Ok(pairs.iter().map(|&[key, value]| (key, value)).collect())
    }

    fn short_tuple(&mut self, length: usize) -> Result<(), PickleFault> {
        let mut items = Vec::with_capacity(length);
        for _ in 0..length {
            items.push(self.pop()?);
        }
        items.reverse();
        self.push(Value::Tuple(items))
    }

    fn text_integer(&mut self) -> Result<(), PickleFault> {
        let line = self.input.line()?;
        match line.trim_end_matches('L').parse() {
            Ok(number) => self.push(Value::Integer(number)),
            Err(_) => self.push_id(NUMBER),
        }
    }

    fn binary_integer(&mut self, opcode: u8) -> Result<(), PickleFault> {
        let bytes = match opcode {
            op::BININT => self.input.take(4)?,
            op::BININT1 => self.input.take(1)?,
            op::BININT2 => self.input.take(2)?,
            _ => self.input.counted(opcode)?,
        };
        if bytes.len() > 8 {
            return self.push_id(NUMBER);
        }
        let is_signed = !matches!(opcode, op::BININT1 | op::BININT2);
        let is_negative = is_signed && bytes.last().is_some_and(|&byte| byte >= 0x80);
        let mut wide = [if is_negative { 0xff } else { 0 }; 8];
        wide.iter_mut().zip(bytes).for_each(|(to, &from)| *to = from);
        self.push(Value::Integer(i64::from_le_bytes(wide)))
    }

    fn text(&mut self, opcode: u8) -> Result<(), PickleFault> {
        let bytes = self.input.counted(opcode)?;
        // Python also pickles strings with lone surrogates (undecodable file names); no checkpoint key is one.
        match str::from_utf8(bytes) {
            Ok(text) => self.push(Value::Text(text)),
            Err(_) => self.push_id(BYTES),
        }
    }

    fn memo_key(&mut self, opcode: u8) -> Result<u64, PickleFault> {
        match opcode {
            op::BINPUT | op::BINGET => self.input.unsigned(1),
            op::LONG_BINPUT | op::LONG_BINGET => self.input.unsigned(4),
            op::MEMOIZE => Ok(self.memo.len() as u64),
            _ => self.input.line()?.parse().map_err(|_| self.fault("a memo key that is not a number")),
        }
    }

    fn memoize(&mut self, key: u64) -> Result<(), PickleFault> {
        let top = self.top()?;
        if self.memo.len() >= MAX_VALUES {
            return Err(self.fault(format!("more than {MAX_VALUES} memo entries")));
        }
        self.memo.insert(key, top);
        Ok(())
    }

    fn recall(&mut self, key: u64) -> Result<(), PickleFault> {
        match self.memo.get(&key) {
            Some(&id) => self.push_id(id),
            None => Err(self.fault(format!("memo entry {key} was never stored"))),
        }
    }

    fn global(&mut self) -> Result<(), PickleFault> {
        let module = self.input.line()?;
        let name = self.input.line()?;
        self.push(Value::Global(Global { module, name }))
    }

    fn stack_global(&mut self) -> Result<(), PickleFault> {
        let (module, name) = self.pop_pair()?;
        match (self.value(module), self.value(name)) {
            (Some(&Value::Text(module)), Some(&Value::Text(name))) => self.push(Value::Global(Global { module, name })),
            _ => Err(self.fault("a global whose name is not a string")),
        }
    }

    fn value(&self, id: ValueId) -> Option<&Value<'a>> {
        self.values.get(id.0 as usize)
    }

    fn value_mut(&mut self, id: ValueId) -> Option<&mut Value<'a>> {
        self.values.get_mut(id.0 as usize)
    }

    /// Items for anything but a list (a deque, a subclass) belong to data no checkpoint needs.
    fn append(&mut self, items: Vec<ValueId>) -> Result<(), PickleFault> {
        let target = self.top()?;
        if let Some(Value::List(list)) = self.value_mut(target) {
            list.extend(items);
        }
        Ok(())
    }

    /// See [`Machine::append`], for dicts.
    fn set_items(&mut self, pairs: Vec<(ValueId, ValueId)>) -> Result<(), PickleFault> {
        let target = self.top()?;
        if let Some(Value::Dict(items)) = self.value_mut(target) {
            items.extend(pairs);
        }
        Ok(())
    }

    fn build_with(&mut self, callable: ValueId, items: Vec<ValueId>) -> Result<(), PickleFault> {
        self.push(Value::Tuple(items))?;
        let arguments = self.pop()?;
        self.build(callable, arguments)
    }

    /// Describes a call. Only `OrderedDict` is understood here, because the opcodes after it fill it with items.
    fn build(&mut self, callable: ValueId, arguments: ValueId) -> Result<(), PickleFault> {
        if let Some(&Value::Global(global)) = self.value(callable) {
            if runs_code(global) {
                return Err(PickleFault::Hostile { callable: global.to_string() });
            }
            if global.module == "collections" && matches!(global.name, "OrderedDict" | "defaultdict") {
                let items = self.initial_items(arguments)?;
                return self.push(Value::Dict(items));
            }
        }
        self.push(Value::Built { callable, arguments, state: None })
    }

    /// The items of `OrderedDict([[key, value], ...])`, as Python 2 pickled it; none for `OrderedDict()`.
    fn initial_items(&mut self, arguments: ValueId) -> Result<Vec<(ValueId, ValueId)>, PickleFault> {
        let items = |id| match self.value(id) {
            Some(Value::Tuple(items) | Value::List(items)) => items.as_slice(),
            _ => &[],
        };
        let Some(&list) = items(arguments).first() else {
            return Ok(Vec::new());
        };
        let pairs = items(list).iter().filter_map(|&pair| <[ValueId; 2]>::try_from(items(pair)).ok());
        let pairs: Vec<_> = pairs.map(|[key, value]| (key, value)).collect();
        // The same list may be copied by any number of calls, so its length counts every time.
        let length = items(list).len();
        self.copied_items += length;
        if self.copied_items > MAX_VALUES {
            return Err(self.fault(format!("more than {MAX_VALUES} dict items")));
        }
        Ok(pairs)
    }

    /// State of anything but an object (`_metadata` of a state dict) is not needed.
    fn set_state(&mut self) -> Result<(), PickleFault> {
        let new_state = self.pop()?;
        let target = self.top()?;
        if let Some(Value::Built { state, .. }) = self.value_mut(target) {
            *state = Some(new_state);
        }
        Ok(())
    }
}
