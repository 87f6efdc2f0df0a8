namespace SafePool.Driver;

/// <summary>What a data source of the pool is for; its name says it, so that meters tell them apart.</summary>
internal enum DataSourceUse
{
    /// <summary>Leases.</summary>
    Pool,

    /// <summary>The control connection.</summary>
    Control,

    /// <summary>One connect to find out whether, and to whom, another one leads.</summary>
    Knock,

    /// <summary>The second connection of a pooler's survey.</summary>
    Survey,
}
