namespace SafePool.Driver;

/// <summary>How far an <see cref="OpenAttempt"/> has come.</summary>
internal enum OpenState
{
    /// <summary>Npgsql has it, and what <see cref="ConnectionPoolOptions.ConfigureDataSource"/> has set.</summary>
    Connecting = 0,

    /// <summary>Connected; the pool talks to the server.</summary>
    Greeting,

    /// <summary>Connected; <see cref="ConnectionPoolOptions.PhysicalConnectionOpened"/> has it.</summary>
    InHook,

    /// <summary>It has ended, one way or the other.</summary>
    Done,

    /// <summary>It had not ended in time, and what it brings later is nobody's.</summary>
    GivenUp,
}
