using Npgsql;

namespace SafePool.TestKit;

/// <summary>Failures for scripted opens.</summary>
public static class OpenErrors
{
    /// <summary>One that proves that waiting is in vain, so that it surfaces at once.</summary>
    public static NpgsqlException ForGood() => new("No password has been provided but the backend requires one");
}
