//! Which execution providers really run a session's nodes.
//!
//! ONNX Runtime gives every node that a provider declines to the CPU without a word; this is where it is asked.

use crate::EncodeError;
use ort::AsPointer as _;
use ort::session::Session;
use std::collections::BTreeMap;
use std::ffi::{CStr, c_char};
use std::ptr;

/// How many nodes each provider runs, by ONNX Runtime's name. A compiled subgraph counts as the nodes it was made of.
///
/// # Errors
/// [`EncodeError::Tower`] when ONNX Runtime does not tell.
#[expect(unsafe_code, reason = "the binding has no safe form of this query yet")]
pub(super) fn providers_in_use(session: &Session) -> Result<BTreeMap<String, usize>, EncodeError> {
    let api = ort::api();
    let mut subgraphs = ptr::null();
    let mut count = 0;
    let mut providers = BTreeMap::new();
    // SAFETY: the session is alive for the whole function and owns everything that the calls return; each pointer is
    // read only after its call succeeded.
    unsafe {
        check((api.Session_GetEpGraphAssignmentInfo)(session.ptr(), &raw mut subgraphs, &raw mut count))?;
        for index in 0..count {
            let subgraph = *subgraphs.add(index);
            let mut name: *const c_char = ptr::null();
            check((api.EpAssignedSubgraph_GetEpName)(subgraph, &raw mut name))?;
            let mut nodes = ptr::null();
            let mut node_count = 0;
            check((api.EpAssignedSubgraph_GetNodes)(subgraph, &raw mut nodes, &raw mut node_count))?;
            let name = CStr::from_ptr(name).to_string_lossy().into_owned();
            *providers.entry(name).or_default() += node_count;
        }
    }
    Ok(providers)
}

#[expect(unsafe_code, reason = "takes over a status that ONNX Runtime allocated")]
fn check(status: ort::sys::OrtStatusPtr) -> Result<(), EncodeError> {
    // SAFETY: every status comes fresh from a call and is given away here, once.
    unsafe { ort::Error::result_from_status(status) }.map_err(|error| EncodeError::Tower {
        tower: "any",
        reason: format!("which execution provider runs it: {error}"),
    })
}
