using System.Diagnostics;
using System.Text.RegularExpressions;

namespace SafePool.Reports;

/// <summary>Stack traces as people read them: without the frames of the framework, of Npgsql, Dapper and SafePool, and with the names that the source has.</summary>
/// <remarks>Taking one walks the stack and looks nothing up; that is done here, when somebody reads it.</remarks>
internal static partial class CallStack
{
    private static readonly string[] _foreign = 
        ["System", "Microsoft", "Npgsql", "Npgsql.EntityFrameworkCore.PostgreSQL", "SafePool", "SafePool.EntityFrameworkCore", "Dapper", "mscorlib", "netstandard"];

    public static StackTrace Capture() => new(skipFrames: 1, fNeedFileInfo: false);

    public static string Format(StackTrace calls)
    {
        List<string> lines = [];
        var isStarted = false;
        foreach (var frame in calls.GetFrames())
        {
            if (DiagnosticMethodInfo.Create(frame) is not { } method || IsForeign(method.DeclaringAssemblyName))
            {
                continue;
            }

            var line = $"   at {Readable(method.DeclaringTypeName, method.Name)}";
            if (!isStarted || line != lines[^1])
            {
                lines.Add(line);
            }

            // Below the first steps of a state machine stands the method that started it: the same in the source.
            isStarted = !isStarted && method.Name == "MoveNext";
        }

        return string.Join(Environment.NewLine, lines);
    }

    /// <summary>Whether an assembly, by its full or its simple name, is not the user's.</summary>
    public static bool IsForeign(string assembly)
    {
        var name = assembly.Split(',')[0];
        return name.StartsWith("System.", StringComparison.Ordinal)
            || name.StartsWith("Microsoft.", StringComparison.Ordinal)
            || _foreign.Contains(name);
    }

    /// <summary>What the compiler made of the source, read backwards: state machines, closures, lambdas, local functions.</summary>
    public static string Readable(string? type, string method)
    {
        var types = (type ?? "").Split('[')[0].Split('+').ToList();
        if (StateMachine().Match(types[^1]) is { Success: true } machine)
        {
            // 'Outer+<LoadAsync>d__3.MoveNext', or the same of a local function or lambda.
            method = machine.Groups["method"].Value;
            types.RemoveAt(types.Count - 1);
        }

        types.RemoveAll(part => part.StartsWith("<>c", StringComparison.Ordinal));
        method = LocalFunction().Replace(method, "${outer}.${inner}");
        method = Lambda().Replace(method, "${outer}.(lambda)");
        method = TopLevel().Replace(method, "${outer}");
        return string.Join('.', types.Select(part => Arity().Replace(part, "")).Append(method).Where(part => part.Length > 0));
    }

    [GeneratedRegex(@"^<(?<method>.+)>d(__\d+)?(`\d+)?$")]
    private static partial Regex StateMachine();

    [GeneratedRegex(@"<(?<outer>.+)>g__(?<inner>[^|]+)\|[\d_]+")]
    private static partial Regex LocalFunction();

    [GeneratedRegex(@"<(?<outer>.+)>b__[\d_]+")]
    private static partial Regex Lambda();

    [GeneratedRegex(@"<(?<outer>[^<>]+)>\$")]
    private static partial Regex TopLevel();

    [GeneratedRegex(@"`\d+")]
    private static partial Regex Arity();
}
