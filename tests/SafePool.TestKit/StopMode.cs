namespace SafePool.TestKit;

/// <summary>How a <see cref="PostgresServer"/> goes down.</summary>
public enum StopMode
{
    /// <summary>Sessions are ended with 57P01, then the server shuts down in order (SIGINT).</summary>
    Fast,

    /// <summary>Sessions are cut and the next start recovers, as after a crash of a backend (SIGQUIT).</summary>
    Immediate,

    /// <summary>The postmaster vanishes without a word, as under the kernel's out-of-memory killer (SIGKILL).</summary>
    Kill,
}
