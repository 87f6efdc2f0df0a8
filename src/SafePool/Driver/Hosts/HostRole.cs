namespace SafePool.Driver.Hosts;

/// <summary>What a server says of itself.</summary>
internal enum HostRole
{
    /// <summary>It was not asked yet, or does not say.</summary>
    Unknown = 0,

    /// <summary>A primary that takes writes.</summary>
    ReadWrite,

    /// <summary>A primary whose sessions begin read-only (<c>default_transaction_read_only</c>).</summary>
    ReadOnly,

    /// <summary>A server in recovery.</summary>
    Standby,
}

/// <summary>How well a role serves what <c>Target Session Attributes</c> asks for.</summary>
internal enum HostFit
{
    Preferred = 0,

    /// <summary>While there is nothing better.</summary>
    Acceptable,

    /// <summary>Not at all.</summary>
    Wrong,
}
