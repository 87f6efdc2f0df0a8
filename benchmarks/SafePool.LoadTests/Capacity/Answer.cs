namespace SafePool.LoadTests.Capacity;

/// <summary>How a request ended.</summary>
internal enum Answer
{
    /// <summary>Not yet.</summary>
    None,

    Served,

    /// <summary>It got no connection, and was told so.</summary>
    Refused,

    /// <summary>It had one, and its command failed.</summary>
    Failed,
}
