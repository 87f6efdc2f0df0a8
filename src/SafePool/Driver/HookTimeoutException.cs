namespace SafePool.Driver;

/// <summary>An open took too long for the hook <see cref="ConnectionPoolOptions.PhysicalConnectionOpened"/>: the server is not to blame.</summary>
internal sealed class HookTimeoutException() : TimeoutException($"The hook {nameof(ConnectionPoolOptions.PhysicalConnectionOpened)} had not ended.");
