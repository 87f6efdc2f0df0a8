namespace SafePool;

/// <summary>A lease that was out when somebody looked.</summary>
public sealed record LeaseHolder
{
    /// <summary>Gets the lease's number, unique in its pool.</summary>
    public required long LeaseId { get; init; }

    /// <summary>Gets the member that rented it.</summary>
    public required string Member { get; init; }

    /// <summary>Gets the name of the file in which it was rented; not its path, which would show the build machine.</summary>
    public required string File { get; init; }

    /// <summary>Gets the line at which it was rented.</summary>
    public required int Line { get; init; }

    /// <summary>Gets the renter's own word for it, if there was one.</summary>
    public string? Label { get; init; }

    /// <summary>Gets how long it has been held, to a quarter of a second.</summary>
    public required TimeSpan Held { get; init; }

    /// <summary>Gets the process id of its session on the server; null when the connection is not open.</summary>
    public int? BackendProcessId { get; init; }

    /// <summary>Where and how long, for a message.</summary>
    /// <returns>For example <c>lease 8123, 41.0 s, rented at OrderStore.cs:57 (LoadAsync)</c>.</returns>
    public override string ToString() => Errors.Sentences.Describe(this);
}
