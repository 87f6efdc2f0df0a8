using System.Globalization;
using System.Text;
using Npgsql;

namespace SafePool.Driver;

/// <summary>The name of an application as it is said, and as the server keeps it.</summary>
internal static class ApplicationNames
{
    // NAMEDATALEN - 1.
    private const int LongestOnServer = 63;

    private static readonly Version _escaping = new(16, 0);

    /// <summary>What sessions of a connection string call themselves; null when nothing says it.</summary>
    public static string? Of(string connectionString)
        => new NpgsqlConnectionStringBuilder(connectionString).ApplicationName is { Length: > 0 } said ? said
            // Npgsql's own second choice.
            : Environment.GetEnvironmentVariable("PGAPPNAME") is { Length: > 0 } inherited ? inherited
            : null;

    /// <summary>How the server writes it in <c>pg_stat_activity</c>: printable ASCII only, and cut.</summary>
    public static string OnServer(string name, Version server)
    {
        var written = new StringBuilder();
        foreach (var letter in Encoding.UTF8.GetBytes(name))
        {
            written.Append(letter is >= 32 and <= 126 ? ((char)letter).ToString()
                : server >= _escaping ? string.Create(CultureInfo.InvariantCulture, $"\\x{letter:x2}")
                : "?");
        }

        return written.Length > LongestOnServer ? written.ToString(0, LongestOnServer) : written.ToString();
    }
}
