namespace SafePool.TestKit;

internal enum StartupKind
{
    Unknown,
    Encryption,
    Startup,
    CancelRequest,
}
