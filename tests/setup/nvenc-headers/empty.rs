//! Empty: the manifest beside this is read for its dependencies' headers only.
