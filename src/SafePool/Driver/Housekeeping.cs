using System.ComponentModel;
using System.Diagnostics.CodeAnalysis;
using Npgsql;
using SafePool.Lifecycle.Failures;
using SafePool.Options;

namespace SafePool.Driver;

/// <summary>Tells what the pool says to the server on its own account apart from what its users say: in traces, and in the names of data sources.</summary>
/// <remarks>
/// A command is marked by an object in <see cref="Component.Site"/>, which nobody else has, so that words of any kind can be ours, and a user's of the same text are not. The mark is asked for only
/// where somebody listens for Npgsql's spans.
/// </remarks>
internal static class Housekeeping
{
    /// <summary>Npgsql answers a text-format export where it asked for binary by breaking the connection, and only this one.</summary>
    public const string BreakingCopy = "COPY (SELECT 1) TO STDOUT";

    /// <summary>A command of the pool's own.</summary>
    public static NpgsqlCommand Command(string sql, NpgsqlConnection? connection, NpgsqlTransaction? transaction = null)
        => new(sql, connection, transaction) { Site = Mark.Instance };

    public static bool IsOurs(NpgsqlCommand command) => ReferenceEquals(command.Site, Mark.Instance);

    public static bool IsOurs(string copyCommand) => ReferenceEquals(copyCommand, BreakingCopy);

    /// <summary>Builds a data source: the user's configuration, a name without the connection string, and no spans for what is ours.</summary>
    public static NpgsqlDataSource Build(PoolSettings settings, string connectionString, DataSourceUse use)
    {
        var builder = new NpgsqlDataSourceBuilder(connectionString);
        if (use == DataSourceUse.Pool)
        {
            // First: Npgsql keeps one filter, the one that was set last, and does not tell which. A user who sets one means it (SafePoolTelemetry.IsHousekeeping is for him).
            builder.ConfigureTracing(tracing => tracing
                .ConfigureCommandFilter(static command => !IsOurs(command))
                .ConfigureCopyOperationFilter(static copy => !IsOurs(copy))
                .EnablePhysicalOpenTracing(false));
        }

        settings.ConfigureDataSource?.Invoke(builder);
        if (builder.ConnectionStringBuilder.Host?.Contains(',', StringComparison.Ordinal) is true)
        {
            throw new NotSupportedException("ConfigureDataSource has set several hosts. Name them in ConnectionString: the pool chooses among them, not Npgsql.");
        }

        var name = CommandFailures.Join(settings.DataSourceName, NameFor(settings, builder, use));
        if (use == DataSourceUse.Pool)
        {
            builder.Name = name;
            return builder.Build();
        }

        // Nothing of a user's goes over these. And no types are loaded: that is the one part of an open in which Npgsql does not heed a cancelled token at once, and goes on for seconds on a silent network.
        builder.ConfigureTypeLoading(static types => types.EnableTypeLoading(false));
        builder.Name = $"{name} (SafePool {Word(use)})";
        builder.ConfigureTracing(static tracing => tracing
            .ConfigureCommandFilter(static _ => false)
            .ConfigureBatchFilter(static _ => false)
            .ConfigureCopyOperationFilter(static _ => false)
            .EnablePhysicalOpenTracing(false));
        return builder.Build();
    }

    /// <summary>The user's, or null for the pool's. With several hosts there is a data source for each, and Npgsql's meter tells them apart by name alone.</summary>
    private static string? NameFor(PoolSettings settings, NpgsqlDataSourceBuilder builder, DataSourceUse use)
    {
        if (settings.Hosts.Count == 1 || use is not (DataSourceUse.Pool or DataSourceUse.Knock))
        {
            return builder.Name;
        }

        var text = builder.ConnectionStringBuilder;
        return $"{builder.Name ?? settings.DataSourceName} {new HostName(text.Host, text.Port)}";
    }

    private static string Word(DataSourceUse use) => use switch
    {
        DataSourceUse.Control => "control",
        DataSourceUse.Knock => "knock",
        _ => "survey",
    };

    /// <summary>The mark: a site without a container.</summary>
    private sealed class Mark : ISite
    {
        public static readonly Mark Instance = new();

        public IComponent Component => throw new NotSupportedException();

        public IContainer? Container => null;

        public bool DesignMode => false;

        public string? Name
        {
            get => "SafePool";
            [RequiresUnreferencedCode("As the interface has it.")]
            set => throw new NotSupportedException();
        }

        public object? GetService(Type serviceType) => null;
    }
}
