namespace SafePool.ChaosTests;

/// <summary>A pooler between the proxy and the server, such as PgBouncer, as far as chaos is concerned.</summary>
internal interface IMiddleman : IAsyncDisposable
{
    /// <summary>Gets how to connect through it.</summary>
    string ConnectionString { get; }

    /// <summary>Gets whether sessions are given out by transaction, so that nothing is reset.</summary>
    bool SharesSessions { get; }

    /// <summary>What it said when it ended by itself, which was undone at once; null when it did not since this was asked last.</summary>
    string? TakeLastWords();

    /// <summary>Lets running transactions end, and holds back everybody else.</summary>
    Task PauseAsync();

    /// <summary>Ends a pause; when there is none, does nothing.</summary>
    Task ResumeAsync();

    /// <summary>Goes away and comes back at the same address.</summary>
    Task RestartAsync();
}
