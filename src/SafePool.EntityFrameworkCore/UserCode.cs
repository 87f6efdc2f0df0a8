using System.Collections.Concurrent;
using System.Diagnostics;
using System.Reflection;
using Microsoft.EntityFrameworkCore;
using SafePool.Reports;

namespace SafePool.EntityFrameworkCore;

/// <summary>Finds the line of the user's code on whose behalf EF Core opens a connection: the compiler cannot supply it, so the stack is walked.</summary>
/// <remarks>
/// <para>
/// The walk is the cost (a few microseconds, and nothing with <see cref="LeaseTracking.Off"/>). The line itself is looked up in the debug information once for each place in the code, and kept.
/// </para>
/// <para>
/// A method of a context itself (an overridden <c>SaveChanges</c>) is named only when nobody has called it whom the stack still shows. Where an await inside EF Core came before the
/// open, as in the second attempt of a retry strategy, the stack has no user code, and the site is unknown; the label still names the context.
/// </para>
/// </remarks>
internal static class UserCode
{
    // More places than this open connections in no program; generated code could.
    private const int MaxPlaces = 4096;

    private static readonly ConcurrentDictionary<(MethodBase Method, int Offset), RentSite> _sites = new();
    private static readonly ConcurrentDictionary<Module, bool> _foreign = new();

    public static RentSite Find(ConnectionPool pool)
    {
        if (!pool.TracksSites)
        {
            return default;
        }

        var calls = new StackTrace(skipFrames: 1, fNeedFileInfo: false);
        var at = IndexOfUser(calls);
        if (at < 0)
        {
            return new RentSite("", "", 0);
        }

        var frame = calls.GetFrame(at)!;
        var place = (frame.GetMethod()!, frame.GetILOffset());
        return _sites.TryGetValue(place, out var site) ? site : Remember(place, Describe(place.Item1, new StackTrace(skipFrames: 1, fNeedFileInfo: true).GetFrame(at)!));
    }

    private static int IndexOfUser(StackTrace calls)
    {
        var ofContext = -1;
        for (var i = 0; i < calls.FrameCount; i++)
        {
            if (calls.GetFrame(i)?.GetMethod() is not { DeclaringType: { } type } method || _foreign.GetOrAdd(method.Module, IsForeign))
            {
                continue;
            }

            if (!IsContext(type))
            {
                return i;
            }

            ofContext = ofContext < 0 ? i : ofContext;
        }

        return ofContext;
    }

    private static bool IsForeign(Module module) => CallStack.IsForeign(module.Assembly.GetName().Name ?? "");

    /// <summary>Also the state machines and closures of its methods, which are types inside of it.</summary>
    private static bool IsContext(Type type)
    {
        for (var outer = type; outer is not null; outer = outer.DeclaringType)
        {
            if (typeof(DbContext).IsAssignableFrom(outer))
            {
                return true;
            }
        }

        return false;
    }

    private static RentSite Describe(MethodBase method, StackFrame frame)
    {
        var full = CallStack.Readable(method.DeclaringType?.FullName, method.Name);
        return frame.GetFileName() is { Length: > 0 } file
            ? new RentSite(full[(LastOfType(method, full) + 1)..], file, frame.GetFileLineNumber())
            : new RentSite(full, "", 0);
    }

    /// <summary>Where the name of the type ends in the readable name, so that the member reads as the compiler would have supplied it.</summary>
    private static int LastOfType(MethodBase method, string full)
    {
        var type = method.DeclaringType;
        while (type is { DeclaringType: { } outer } && type.Name.StartsWith('<'))
        {
            type = outer;
        }

        var name = type?.FullName?.Replace('+', '.') ?? "";
        return full.StartsWith(name + ".", StringComparison.Ordinal) ? name.Length : -1;
    }

    private static RentSite Remember((MethodBase Method, int Offset) place, RentSite site)
    {
        if (_sites.Count < MaxPlaces)
        {
            _sites.TryAdd(place, site);
        }

        return site;
    }
}
