using System.Diagnostics.CodeAnalysis;
using Npgsql;

namespace SafePool.Samples.Exhaustion;

internal static class Arguments
{
    public const string Usage =
        """
        Usage: Exhaustion [connection string]
        Takes no argument, to bring a server of its own, or one: an Npgsql connection string such as "Host=localhost;Username=app;Database=orders".
        """;

    /// <summary>Reads the command line; null is a server of one's own.</summary>
    public static bool TryRead(string[] args, out NpgsqlConnectionStringBuilder? given)
    {
        given = null;
        return args.Length == 0 || (args.Length == 1 && TryParse(args[0], out given));
    }

    private static bool TryParse(string text, [NotNullWhen(true)] out NpgsqlConnectionStringBuilder? builder)
    {
        try
        {
            builder = new NpgsqlConnectionStringBuilder(text);
            return builder.Host is not null;
        }
        catch (Exception error) when (error is ArgumentException or FormatException or InvalidCastException or OverflowException)
        {
            builder = null;
            return false;
        }
    }
}
