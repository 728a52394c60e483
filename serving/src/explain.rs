//! Errors in one line.

use std::error::Error;

/// The error and its causes, joined with colons. Many messages end with their cause already; those say it once.
pub fn explain(error: &(dyn Error + 'static)) -> String {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !message.contains(&text) {
            message.push_str(": ");
            message.push_str(&text);
        }
        cause = error.source();
    }
    message
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ServerError;

    #[test]
    fn a_cause_is_said_once() {
        let source = std::io::Error::other("the cable is cut");
        let error = ServerError::Listen { address: "localhost:1".to_owned(), source };
        assert_eq!(explain(&error), "cannot listen on localhost:1: the cable is cut");
    }
}
