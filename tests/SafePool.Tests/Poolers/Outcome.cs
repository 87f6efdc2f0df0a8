using Npgsql;

namespace SafePool.Tests.Poolers;

/// <summary>What came of an attempt, in the words of the matrix.</summary>
internal static class Outcome
{
    public const string Fine = "works";

    public static async Task<string> OfAsync(Func<Task> attemptAsync)
    {
        try
        {
            await attemptAsync();
            return Fine;
        }
        catch (Exception error) when (error is NpgsqlException or PoolException or InvalidOperationException or OperationCanceledException or IOException)
        {
            return "**" + Describe(error) + "**";
        }
    }

    private static string Describe(Exception error) => error switch
    {
        PostgresException { SqlState: PostgresErrorCodes.InternalError } server => $"{server.SqlState} `{server.MessageText}`",
        PostgresException server => server.SqlState,
        NpgsqlException { InnerException: PostgresException server } => $"{server.SqlState} `{server.MessageText}`",
        PoolException { InnerException: { } inner } => $"`{error.GetType().Name}`, {Describe(inner)}",
        PoolException => $"`{error.GetType().Name}`",
        NpgsqlException { InnerException: TimeoutException } => "a time-out",
        NpgsqlException => "a broken connection",
        _ => $"`{error.GetType().Name}`",
    };
}
