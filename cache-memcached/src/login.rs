//! The user and the password of the settings.

use std::fmt;

/// A user of the server's file of users (its option `-Y`).
#[derive(Clone)]
pub(crate) struct Login {
    user: String,
    password: String,
}

impl Login {
    /// Creates a login.
    ///
    /// # Errors
    /// Why the server could not read one of them, with the name of its option.
    pub(crate) fn new(
        user: String,
        password: String,
    ) -> Result<Self, (&'static str, &'static str)> {
        for (option, text) in [("username", &user), ("password", &password)] {
            if text.is_empty() {
                return Err((option, "is empty; remove it, or give it a value"));
            }
            if text.bytes().any(|it| it <= b' ' || it == 0x7f) {
                let what =
                    "contains a space or a control character, at which the server would cut it off";
                return Err((option, what));
            }
        }
        Ok(Self { user, password })
    }

    /// Returns the command that logs in. The server ignores the key.
    pub(crate) fn command(&self) -> String {
        let Self { user, password } = self;
        format!("set login 0 0 {}\r\n{user} {password}\r\n", user.len() + 1 + password.len())
    }
}

/// Shows neither of them.
impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login")
    }
}
