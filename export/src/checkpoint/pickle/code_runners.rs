//! Names of what malicious pickles call.

use super::values::Global;

/// What a pickle would call to run code: `(module, names)`, no names meaning the whole module and all below it.
///
/// Reading stays safe without this list, because nothing is called. It exists to tell a user who holds a malicious file
/// so, instead of quietly using the weights beside the attack.
const CODE_RUNNERS: &[(&str, &[&str])] = &[
    ("posix", &[]),
    ("nt", &[]),
    ("os", &[]),
    ("subprocess", &[]),
    ("pty", &[]),
    ("sys", &[]),
    ("shutil", &[]),
    ("socket", &[]),
    ("runpy", &[]),
    ("importlib", &[]),
    ("ctypes", &[]),
    ("code", &[]),
    ("timeit", &[]),
    ("pdb", &[]),
    ("bdb", &[]),
    ("cProfile", &[]),
    ("profile", &[]),
    ("webbrowser", &[]),
    ("urllib", &[]),
    ("requests", &[]),
    ("pip", &[]),
    ("pickle", &[]),
    ("_pickle", &[]),
    ("marshal", &[]),
    ("commands", &[]),
    ("asyncio", &[]),
    ("torch.hub", &[]),
    ("types", &["CodeType", "FunctionType", "LambdaType"]),
    ("builtins", &["eval", "exec", "compile", "open", "__import__", "breakpoint", "input"]),
    ("__builtin__", &["eval", "exec", "execfile", "compile", "open", "file", "__import__", "input", "apply"]),
    ("io", &["open", "FileIO"]),
    ("torch", &["load"]),
    ("torch.serialization", &["load"]),
    ("numpy.testing._private.utils", &["runstring"]),
];

/// Whether calling this would run a program or arbitrary code.
pub(super) fn runs_code(global: Global<'_>) -> bool {
    CODE_RUNNERS.iter().any(|&(module, names)| {
        if names.is_empty() {
            global.module.strip_prefix(module).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        } else {
            // A dotted name reaches into the named object, so its first part decides.
            global.module == module && global.name.split('.').next().is_some_and(|name| names.contains(&name))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attacks_are_told_from_data() {
        let check = |module, name| runs_code(Global { module, name });
        assert!(check("posix", "system"));
        assert!(check("os.path", "join"));
        assert!(check("builtins", "eval"));
        assert!(check("__builtin__", "exec"));
        assert!(check("builtins", "open.__call__"));
        assert!(!check("builtins", "set"));
        assert!(!check("oscillator", "Sine"));
        assert!(!check("types", "SimpleNamespace"));
        assert!(!check("torch._utils", "_rebuild_tensor_v2"));
    }
}
