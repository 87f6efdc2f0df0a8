namespace SafePool.TestKit;

/// <summary>For how long <see cref="PgBouncerServer"/> leaves a server connection to a client.</summary>
public enum PoolMode
{
    /// <summary>Until the client disconnects.</summary>
    Session,

    /// <summary>Until the transaction ends.</summary>
    Transaction,

    /// <summary>Until the statement ends; transactions are refused.</summary>
    Statement,
}
