use super::super::state_dict;
use super::*;
use proptest::prelude::*;
use std::io::Read as _;

/// `data.pkl` of a small checkpoint.
fn pickle_of(name: &str) -> Vec<u8> {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
    let mut archive = zip::ZipArchive::new(std::fs::File::open(path).unwrap()).unwrap();
    let mut bytes = Vec::new();
    archive.by_name("archive/data.pkl").unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

fn check_fault(bytes: &[u8], part: &str) {
    match Pickle::read(bytes).unwrap_err() {
        PickleFault::Damaged { reason, .. } => assert!(reason.contains(part), "{reason}"),
        hostile @ PickleFault::Hostile { .. } => assert!(format!("{hostile:?}").contains(part), "{hostile:?}"),
    }
}

#[test]
fn integers_have_their_sign() {
    let cases: &[(&[u8], i64)] = &[
        (b"K\xff.", 255),
        (b"M\xff\xff.", 65535),
        (b"J\xff\xff\xff\xff.", -1),
        (b"\x8a\x00.", 0),
        (b"\x8a\x02\x00\x80.", -32768),
        (b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f.", i64::MAX),
        (b"\x8b\x01\x00\x00\x00\x80.", -128),
        (b"I-7\n.", -7),
        (b"L12L\n.", 12),
    ];
    for (bytes, expected) in cases {
        let pickle = Pickle::read(bytes).unwrap();
        assert_eq!(pickle.value(pickle.root()), &Value::Integer(*expected), "{}", bytes.escape_ascii());
    }
}

#[test]
fn memoised_values_are_shared_and_may_contain_themselves() {
    // a = []; a.append(a)
    let pickle = Pickle::read(b"\x80\x02]q\x00h\x00a.").unwrap();
    assert_eq!(pickle.items(pickle.root()), Some([pickle.root()].as_slice()));
    // A list that is filled after a tuple with it was made.
    let pickle = Pickle::read(b"]q\x00\x85h\x00K\x01a0.").unwrap();
    let list = pickle.items(pickle.root()).unwrap()[0];
    assert_eq!(pickle.items(list).map(<[_]>::len), Some(1));
}

#[test]
fn malformed_pickles_are_refused() {
    check_fault(b"", "ends early");
    check_fault(b".", "stack is empty");
    check_fault(b"(.", "stack is empty");
    check_fault(b"N(0a.", "stack is empty");
    check_fault(b"t.", "no mark");
    check_fault(b"h\x07.", "memo entry 7 was never stored");
    check_fault(b"}(Nu.", "a dict key without a value");
    check_fault(b"NN\x93.", "whose name is not a string");
    check_fault(b"X\xff\xff\xff\xffab.", "ends early");
    check_fault(b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffab.", "ends early");
    check_fault(b"\x80\x06N.", "protocol 6");
    check_fault(b"\xfe.", "opcode 0xfe");
}

#[test]
fn attacks_of_every_form_are_named() {
    check_fault(b"cposix\nsystem\n(S'id'\ntR.", "posix.system");
    check_fault(b"(S'id'\niposix\nsystem\n.", "posix.system");
    check_fault(b"(cposix\nsystem\nS'id'\no.", "posix.system");
    check_fault(b"\x80\x04\x8c\x05posix\x8c\x06system\x93)\x81.", "posix.system");
    check_fault(b"\x80\x04\x8c\x05posix\x8c\x06system\x93)}\x92.", "posix.system");
    // Called and thrown away, before harmless content.
    check_fault(b"c__builtin__\neval\n(V1\ntR0}.", "__builtin__.eval");
}

#[test]
fn deep_nesting_needs_no_stack() {
    let depth = 1_000_000;
    let mut bytes = vec![opcode::EMPTY_TUPLE];
    bytes.extend(std::iter::repeat_n(0x85, depth));
    bytes.push(b'.');
    let pickle = Pickle::read(&bytes).unwrap();
    assert_eq!(pickle.items(pickle.root()).map(<[_]>::len), Some(1));
    drop(pickle);
    check_fault(&b"(".repeat(depth), "nested deeper");
}

#[test]
fn memory_is_bounded() {
    check_fault(&b"]".repeat(1 << 23), "more than 4194304 values");
    check_fault(&[b"N".as_slice(), &b"2".repeat(1 << 23)].concat(), "more than 4194304 values on the stack");
    // One list of pairs, copied by many calls.
    let pairs = [b"ccollections\nOrderedDict\nq\x00](".to_vec(), b")".repeat(60_000), b"e\x85q\x010".to_vec()].concat();
    check_fault(&[pairs, b"h\x00h\x01R0".repeat(1000)].concat(), "more than 4194304 dict items");
}

#[test]
fn shared_script_modules_do_not_multiply() {
    // Every module has two attributes for the next, so the tree of 64 levels has 2^64 leaves.
    let mut bytes = b"c__torch__.m\nM\nq\x00)\x81}b".to_vec();
    for _ in 0..64 {
        bytes.extend(b"q\x010h\x00)\x81}(U\x01ah\x01U\x01bh\x01ub");
    }
    bytes.push(b'.');
    let pickle = Pickle::read(&bytes).unwrap();
    let fault = state_dict::tensors(&pickle).unwrap_err();
    assert!(matches!(fault, state_dict::StateDictFault::Malformed { .. }), "{fault:?}");
}

/// Most opcodes that take no argument, and some that do.
const OPCODES: &[u8] = b"(.012NKQRXUabcdehjloqrstu)]}\x80\x81\x85\x86\x87\x8c\x8f\x90\x92\x93\x94";

fn check_never_panics(bytes: &[u8]) {
    if let Ok(pickle) = Pickle::read(bytes) {
        let _ = state_dict::tensors(&pickle);
        let _ = pickle.describe(pickle.root());
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        check_never_panics(&bytes);
    }

    #[test]
    fn arbitrary_programs_never_panic(
        opcodes in proptest::collection::vec(proptest::sample::select(OPCODES), 0..200)
    ) {
        check_never_panics(&opcodes);
    }

    #[test]
    fn mutated_pickles_never_panic(
        name in proptest::sample::select(vec!["training_run.pth", "training_run_protocol4.pth", "script_module.pt"]),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
        removed in any::<proptest::sample::Index>(),
    ) {
        let mut bytes = pickle_of(name);
        for (index, byte) in changes {
            let position = index.index(bytes.len());
            bytes[position] = byte;
        }
        check_never_panics(&bytes);
        bytes.remove(removed.index(bytes.len()));
        check_never_panics(&bytes);
    }
}
