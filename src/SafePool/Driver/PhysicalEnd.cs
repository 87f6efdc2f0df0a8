using System.Data;
using Npgsql;
using SafePool.Options;

namespace SafePool.Driver;

/// <summary>Ends one physical connection, and no other: Npgsql has no word for that.</summary>
internal static class PhysicalEnd
{
    private const int MaxAttempts = 3;

    // In whole seconds: a server that takes longer is taken for silent.
    private static readonly int _patience = (int)Math.Ceiling(PoolSettings.ReturnPatience.TotalSeconds);

    /// <summary>Blocks for the server's answers. False when it could not be ended, and came to rest instead.</summary>
    public static bool Make(NpgsqlConnection connection)
    {
        for (var attempt = 1; attempt <= MaxAttempts && connection.FullState == ConnectionState.Open; attempt++)
        {
            try
            {
                using var neverMade = connection.BeginBinaryExport(Housekeeping.BreakingCopy);
            }
            catch (ArgumentException)
            {
                // As wanted.
            }
            catch (PostgresException refused)
            {
                // A failed transaction refuses everything until it is rolled back; a tiny statement_timeout may hit even this.
                if (refused.SqlState == PostgresErrorCodes.InFailedSqlTransaction)
                {
                    Rollback(connection);
                }
            }
            catch (NpgsqlException) when (connection.FullState == ConnectionState.Broken)
            {
                // By itself.
            }
        }

        var isBroken = connection.FullState == ConnectionState.Broken;
        connection.Close();
        return isBroken;
    }

    private static void Rollback(NpgsqlConnection connection)
    {
        using var command = Housekeeping.Command("ROLLBACK", connection);
        command.CommandTimeout = _patience;
        command.ExecuteNonQuery();
    }
}
