using Npgsql;

namespace SafePool.Driver.Poolers;

/// <summary>Reads the errors of poolers, which say in words only what they mean (<see cref="PoolerWords"/>).</summary>
/// <remarks>Words that are not known decide nothing: what they came with is read as anybody's (<see cref="OpenFailures"/>).</remarks>
internal static class PoolerErrors
{
    /// <summary>What it means; null when no pooler is known to say this.</summary>
    public static PoolerErrorKind? KindOf(Exception error) => Said(error) is { } said
        ? PoolerWords.All.FirstOrDefault(word => word.Fits(said.SqlState, said.MessageText))?.Kind
        : null;

    /// <summary>Whether waiting cures it, without anybody changing a configuration; null when this is no error of a pooler's.</summary>
    public static bool? IsCurable(Exception error) => KindOf(error) switch
    {
        null => null,
        PoolerErrorKind.StartupParameterRefused or PoolerErrorKind.StatementMode => false,
        PoolerErrorKind.AuthenticationFailed or PoolerErrorKind.AddressRefused or PoolerErrorKind.EncryptionRequired => false,
        PoolerErrorKind.UnknownDatabase or PoolerErrorKind.TenantMissing => false,
        PoolerErrorKind.ServerLoginRefused => false,

        // An administrator has begun something that ends; a server that goes down while it is set up; a project that is woken up.
        _ => true,
    };

    /// <summary>The same error with what it means and what to do about it; null when this is no error of a pooler's.</summary>
    public static NpgsqlException? Explain(Exception error)
        => error is PostgresException said && KindOf(said) is { } kind
            ? new NpgsqlException($"The pooler in front of the server refused: \"{said.MessageText}\" ({said.SqlState}). {PoolerMeanings.Of(kind)}", said)
            : null;

    private static PostgresException? Said(Exception error) => error switch
    {
        PostgresException said => said,
        NpgsqlException { InnerException: PostgresException said } => said,
        _ => null,
    };
}
