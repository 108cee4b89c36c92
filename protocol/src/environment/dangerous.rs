//! Names by which an environment takes over a program before its first line runs.
//!
//! Sources: ld.so(8) and glibc's list of what it drops for set-uid programs (`sysdeps/generic/unsecvars.h`), bash(1),
//! and the manuals of the interpreters. A deployment may allow any of them by name; nothing else about them is
//! wrong, so the reason is told.

const LOADER: &str = "the dynamic loader runs or replaces code by it";
const C_LIBRARY: &str = "the C library loads files or changes its behaviour by it";
const RESOLVER: &str = "it redirects name resolution";
const SHELL: &str = "a shell runs code or changes its parsing by it";
const STARTUP: &str = "the interpreter runs code by it before the program";
const SEARCH_PATH: &str = "the interpreter finds the program's modules by it";
const CRYPTO: &str = "it changes or exposes the program's cryptography";

/// Every name that begins so.
const PREFIXES: &[(&str, &str)] = &[
    ("LD_", LOADER),
    ("DYLD_", LOADER),
    ("BASH_FUNC_", SHELL),
    ("LUA_INIT", STARTUP),
    ("LUA_PATH", SEARCH_PATH),
    ("LUA_CPATH", SEARCH_PATH),
    ("CORECLR_PROFILER", STARTUP),
    ("COR_PROFILER", STARTUP),
    ("GIT_CONFIG", STARTUP),
];

const NAMES: &[(&str, &str)] = &[
    ("BASHOPTS", SHELL),
    ("BASH_ENV", SHELL),
    ("CDPATH", SHELL),
    ("CLASSPATH", SEARCH_PATH),
    ("CORECLR_ENABLE_PROFILING", STARTUP),
    ("COR_ENABLE_PROFILING", STARTUP),
    ("DOTNET_STARTUP_HOOKS", STARTUP),
    ("ENV", SHELL),
    ("ERL_AFLAGS", STARTUP),
    ("ERL_FLAGS", STARTUP),
    ("ERL_ZFLAGS", STARTUP),
    ("GCONV_PATH", C_LIBRARY),
    ("GETCONF_DIR", C_LIBRARY),
    ("GLIBC_TUNABLES", C_LIBRARY),
    ("GLOBIGNORE", SHELL),
    ("HOSTALIASES", RESOLVER),
    ("IFS", SHELL),
    ("JAVA_TOOL_OPTIONS", STARTUP),
    ("JDK_JAVA_OPTIONS", STARTUP),
    ("LOCALDOMAIN", RESOLVER),
    ("LOCPATH", C_LIBRARY),
    ("MALLOC_TRACE", C_LIBRARY),
    ("NIS_PATH", RESOLVER),
    ("NLSPATH", C_LIBRARY),
    ("NODE_OPTIONS", STARTUP),
    ("NODE_PATH", SEARCH_PATH),
    ("OPENSSL_CONF", CRYPTO),
    ("OPENSSL_ENGINES", CRYPTO),
    ("OPENSSL_MODULES", CRYPTO),
    ("PERL5DB", STARTUP),
    ("PERL5LIB", SEARCH_PATH),
    ("PERL5OPT", STARTUP),
    ("PERL5SHELL", STARTUP),
    ("PERLIO_DEBUG", STARTUP),
    ("PERLLIB", SEARCH_PATH),
    ("PHPRC", STARTUP),
    ("PHP_INI_SCAN_DIR", STARTUP),
    ("PROMPT_COMMAND", SHELL),
    ("PS4", SHELL),
    ("PYTHONBREAKPOINT", STARTUP),
    ("PYTHONEXECUTABLE", STARTUP),
    ("PYTHONHOME", SEARCH_PATH),
    ("PYTHONINSPECT", STARTUP),
    ("PYTHONPATH", SEARCH_PATH),
    ("PYTHONPLATLIBDIR", SEARCH_PATH),
    ("PYTHONPYCACHEPREFIX", SEARCH_PATH),
    ("PYTHONSTARTUP", STARTUP),
    ("PYTHONUSERBASE", SEARCH_PATH),
    ("PYTHONWARNINGS", STARTUP),
    ("RESOLV_HOST_CONF", RESOLVER),
    ("RES_OPTIONS", RESOLVER),
    ("RUBYLIB", SEARCH_PATH),
    ("RUBYOPT", STARTUP),
    ("R_ENVIRON", STARTUP),
    ("R_PROFILE", STARTUP),
    ("R_PROFILE_USER", STARTUP),
    ("SHELLOPTS", SHELL),
    ("SSLKEYLOGFILE", CRYPTO),
    ("ZDOTDIR", SHELL),
    ("_JAVA_OPTIONS", STARTUP),
];

/// Why `name` is refused unless a deployment allows it; `None` for every other name.
#[must_use]
pub fn reason(name: &str) -> Option<&'static str> {
    if let Ok(at) = NAMES.binary_search_by_key(&name, |(known, _)| known) {
        return Some(NAMES[at].1);
    }
    PREFIXES.iter().find(|(prefix, _)| name.starts_with(prefix)).map(|(_, reason)| *reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_sorted_for_the_search() {
        assert!(NAMES.is_sorted_by(|a, b| a.0 < b.0));
    }

    #[test]
    fn loader_and_interpreter_hooks_are_known() {
        for name in [
            "LD_PRELOAD",
            "LD_AUDIT",
            "LD_LIBRARY_PATH",
            "NODE_OPTIONS",
            "PYTHONSTARTUP",
            "PYTHONPATH",
            "BASH_ENV",
            "ENV",
            "GCONV_PATH",
            "PERL5OPT",
            "RUBYOPT",
            "JAVA_TOOL_OPTIONS",
            "GLIBC_TUNABLES",
        ] {
            assert!(reason(name).is_some(), "{name}");
        }
    }

    #[test]
    fn ordinary_names_pass() {
        for name in [
            "PATH",
            "HOME",
            "DATABASE_URL",
            "ENVIRONMENT",
            "PYTHONUNBUFFERED",
            "PYTHON_VERSION",
            "NODE_ENV",
            "JAVA_OPTS",
        ] {
            assert_eq!(reason(name), None, "{name}");
        }
    }
}
